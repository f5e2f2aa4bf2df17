"""Exact identities of the loss: excess over the best denoiser is a distance, and scales come in one combination."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.mixtures import gmm_orthogonal, gmm_sphere, gmm_two
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import denoisers
from lab.params import Ge, Le, LogScale, Params
from lab.systems.memorization import theory
from lab.systems.memorization.laws.denoising import Noise

DERIVED = "derived for this laboratory; not found in arXiv:2508.17689"

# ---------------------------------------------------------------------- pointwise


class TrainingSet(Noise):
    """N training points in d dimensions, Gaussian of size `spread`; eight noisy samples of them; any denoiser."""

    N: Annotated[int, Ge(1), Le(40)] = 20
    d: Annotated[int, Ge(1), Le(12)] = 8
    spread: Annotated[float, Ge(0.1), Le(10.0), LogScale()] = 1.0


def noisy_points(p: TrainingSet, stream) -> dict[str, np.ndarray]:
    """Training points, noisy samples, and the predictions of a random nonlinear denoiser for them."""
    rng = stream.numpy("points")
    X = p.spread * rng.standard_normal((p.N, p.d))
    y = p.alpha * X[rng.integers(p.N, size=8)] + p.sigma * rng.standard_normal((8, p.d))
    mixed = np.tanh(y @ rng.standard_normal((p.d, p.d)) / p.sigma)
    return {"X": X, "y": y, "f": p.spread * mixed + rng.uniform(-1, 1) * y / p.alpha}


def split_loss(p: TrainingSet, data, *, spread: bool = True) -> np.ndarray:
    """|f - mem|² + V with the memorising denoiser; V left out if not `spread`."""
    weights = denoisers.posterior_weights(data["y"], data["X"], 0.0, p.alpha, p.sigma)
    total = theory.posterior_loss(data["f"], weights, data["X"])
    return total if spread else total - theory.posterior_variance(weights, data["X"])


@measurement
def loss_given_y(p: TrainingSet, data, stream, *, noise: float = 1.0):
    """Mean of |f(y) - x_i|² over the training points that may have given y, by densities; `noise` scales sigma."""
    squares = np.sum((data["y"][:, None] - p.alpha * data["X"]) ** 2, axis=-1) / (2 * (noise * p.sigma) ** 2)
    density = np.exp(squares.min(axis=1, keepdims=True) - squares)
    errors = np.sum((data["f"][:, None] - data["X"]) ** 2, axis=-1)
    return {"loss": np.sum(density * errors, axis=1) / density.sum(axis=1)}


def split_rounding(p: TrainingSet, data) -> float:
    """logits have the rounding of d products of size (|y| + alpha |x|)²/sigma², which shifts weight between points and
    so the loss by at most its range (|f| + |x|)²; sums of N squares of d coordinates add 4 d of it"""
    x = np.linalg.norm(data["X"], axis=1).max()
    reach = np.linalg.norm(data["y"], axis=1).max() + p.alpha * x
    return 4 * p.d * (1 + (reach / p.sigma) ** 2) * (np.linalg.norm(data["f"], axis=1).max() + x) ** 2


EXCESS_IS_DISTANCE = Law(
    id="memorization/excess-is-distance",
    source=Source(DERIVED),
    statement="""
    For every denoiser f and every noisy sample y, with p_i(y) the posterior probabilities of the training points and
    mem(y) = sum_i p_i x_i the memorising denoiser,

        sum_i p_i |f(y) - x_i|² = |f(y) - mem(y)|² + V(y),    V = (1/2) sum_ij p_i p_j |x_i - x_j|².

    Hence L_N(f) - L_N(mem) = E_y |f - mem|² >= 0 and L_N(mem) = E_y V at every noise level: memorising is the global
    minimum of the empirical loss, under any weighting. Weights of another noise level break it (control).
    """,
    params=TrainingSet,
    situation=noisy_points,
    predict=split_loss,
    measure=loss_given_y,
    claim=Equality(of="loss", rounding=split_rounding),
    controls={
        "posterior of another noise level": but(measure=partial(loss_given_y, noise=1.3)),
        "without the spread of the posterior": but(predict=partial(split_loss, spread=False)),
    },
    examples=(TrainingSet(), TrainingSet(process="FM", ratio=20.0), TrainingSet(N=1)),
    draws=Draws(shapes=40, values=1),
)

# ---------------------------------------------------------------------- on average


class Labelled(Params):
    """A mixture whose least loss is a closed form: means plus and minus r, or K orthogonal ones, variance v.

    Orthogonal means with v = 0 are N = K equidistant training points.
    """

    arrangement: Literal["opposite", "orthogonal"] = "opposite"
    d: Annotated[int, Ge(2), Le(20)] = 6
    K: Annotated[int, Ge(2), Le(20)] = 2
    radius: Annotated[float, Ge(0.3), Le(5.0), LogScale()] = 2.0
    v: Annotated[float, Ge(0.0), Le(2.0)] = 0.5
    psi: Annotated[float, Ge(0.05), Le(10.0), LogScale()] = 0.5

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.d < self.K:
            raise ValueError(f"K={self.K} orthogonal means do not fit in d={self.d} dimensions; lower K or raise d")
        return self

    def label_error(self) -> float:
        """D at q = psi/(1 + psi v)."""
        q = self.psi / (1 + self.psi * self.v)
        if self.arrangement == "opposite":
            return float(theory.two_means_label_error(q, self.radius))
        return float(theory.orthogonal_label_error(q, self.radius, self.K))

    def least_loss(self) -> float:
        return float(theory.mixture_mmse(self.psi, self.d, v=self.v, error=self.label_error()))

    def mixture(self, rng: np.random.Generator, count: int):
        """Means and samples of the mixture."""
        if self.arrangement == "opposite":
            return gmm_two(rng, self.d, self.radius, self.v, count)
        return gmm_orthogonal(rng, self.d, self.K, self.radius, self.v, count)


class Shrunk(Labelled):
    """The linear denoiser `shrink` y/alpha on such a mixture."""

    shrink: Annotated[float, Ge(0.0), Le(1.5)] = 0.3


def linear_excess(p: Shrunk, *, least: bool = True) -> float:
    """Loss of the linear denoiser minus the least loss; the first alone if not `least`."""
    loss = float(theory.linear_loss(p.shrink, p.psi, p.radius**2 + p.d * p.v, p.d))
    return loss - p.least_loss() if least else loss


DRAWS = 4000


@measurement
def distance_from_best(p: Shrunk, stream, *, wrong: float = 1.0):
    """Mean squared distance between the linear and the best denoiser over noisy samples; `wrong` scales its noise."""
    rng = stream.numpy("samples")
    mixture = p.mixture(rng, DRAWS)
    s = 1 / math.sqrt(p.psi)
    y = mixture.X + s * rng.standard_normal(mixture.X.shape)
    best = denoisers.posterior_mean(y, mixture.means, p.v, 1.0, wrong * s)
    return {"distance": np.mean(np.sum((p.shrink * y - best) ** 2, axis=1))}


EXCESS_LOSS = Law(
    id="memorization/excess-loss",
    source=Source(DERIVED),
    statement="""
    L(f) - L(best) = E_y |f(y) - best(y)|² for the true mixture (best = posterior mean) and for a training set (best =
    memorising denoiser). Here with f(y) = c y/alpha, whose loss (1-c)² E|x|² + c² d/psi is elementary, and mixtures
    whose least loss is a closed form (memorization/gmm-mmse); equidistant training points are among them (orthogonal
    means, v = 0). Measured: the distance between the two denoisers over noisy samples, which never compares with x.
    """,
    params=Shrunk,
    predict=linear_excess,
    measure=distance_from_best,
    claim=Equality(of="distance", over="mean", resolve=0.05),
    controls={
        "best denoiser of another noise level": but(measure=partial(distance_from_best, wrong=1.5)),
        "least loss left out": but(predict=partial(linear_excess, least=False)),
    },
    examples=(Shrunk(), Shrunk(arrangement="orthogonal", K=6, v=0.0), Shrunk(shrink=1.0, psi=2.0)),
    draws=Draws(shapes=12, values=1, replicates=12),
)

# ---------------------------------------------------------------------- scales


class Scaled(Noise):
    """N samples of a mixture of K means, all scaled by `scale`; a model that memorises the first M; common noise."""

    d: Annotated[int, Ge(1), Le(12)] = 6
    K: Annotated[int, Ge(1), Le(6)] = 3
    N: Annotated[int, Ge(1), Le(30)] = 12
    M: Annotated[int, Ge(1), Le(30)] = 7
    v: Annotated[float, Ge(0.05), Le(4.0), LogScale()] = 1.0
    scale: Annotated[float, Ge(0.1), Le(10.0), LogScale()] = 3.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.M > self.N:
            raise ValueError(f"M={self.M} memorised points of N={self.N}; lower M or raise N")
        return self


def scaled_data(p: Scaled, stream) -> dict[str, np.ndarray]:
    rng = stream.numpy("mixture")
    mixture = gmm_sphere(rng, p.d, p.K, p.v, None, p.N)
    return {"means": mixture.means, "X": mixture.X, "z": rng.standard_normal((p.N, p.d))}


@measurement
def scaled_losses(p: Scaled, data, stream, *, power: float = 2.0):
    """Loss of generalising, memorising and partially memorising denoiser on the scaled data, at alpha and sigma.

    `power` is that of the scale in the variance: 2.
    """
    X, means, v = p.scale * data["X"], p.scale * data["means"], p.scale**power * p.v
    y = p.alpha * X + p.sigma * data["z"]
    given = ((means, v), (X, 0.0), (X[: p.M], 0.0))
    found = [denoisers.posterior_mean(y, centres, width, p.alpha, p.sigma) for centres, width in given]
    return {"losses": np.array([np.mean(np.sum((f - X) ** 2, axis=1)) for f in found])}


def unscaled_losses(p: Scaled, data, *, power: float = 2.0) -> np.ndarray:
    """c² times the losses of the data as they are, at ratio c² psi (`power` of c), in coordinates alpha = 1, from
    densities written out."""
    s = p.ratio / p.scale ** (power / 2)
    X = data["X"]
    y = X + s * data["z"]
    losses = []
    for centres, v in ((data["means"], p.v), (X, 0.0), (X[: p.M], 0.0)):
        squares = np.sum((y[:, None] - centres) ** 2, axis=-1) / (2 * (v + s * s))
        weights = np.exp(squares.min(axis=1, keepdims=True) - squares)
        middle = weights @ centres / weights.sum(axis=1, keepdims=True)
        losses.append(np.mean(np.sum((middle + v / (v + s * s) * (y - middle) - X) ** 2, axis=1)))
    return p.scale**2 * np.array(losses)


def scaled_rounding(p: Scaled, data) -> float:
    """as for one sample: logits of size (|y| + alpha |x|)²/sigma² carry d roundings and move the loss by at most the
    squared diameter of the data; here in the coordinates alpha = 1"""
    s = p.ratio / p.scale
    x = max(np.linalg.norm(data["X"], axis=1).max(), np.linalg.norm(data["means"], axis=1).max())
    reach = 2 * x + s * np.linalg.norm(data["z"], axis=1).max()
    return 4 * p.d * (1 + (reach / s) ** 2) * (p.scale * (x + reach)) ** 2


SCALE_COVARIANCE = Law(
    id="memorization/scale-covariance",
    source=Source(DERIVED),
    statement="""
    Losses of the generalising, memorising and partially memorising denoiser depend on time and process through
    psi = alpha²/sigma² alone, and on scales through psi v alone:

        L(psi; c X, c mu, c² v) = c² L(c² psi; X, mu, v),

    sample by sample with common noise. Radius and standard deviation must scale together.
    """,
    params=Scaled,
    situation=scaled_data,
    predict=unscaled_losses,
    measure=scaled_losses,
    claim=Equality(of="losses", rounding=scaled_rounding, scale=lambda p: p.scale**2 * p.d * p.v),
    controls={
        "variance scaled once": but(measure=partial(scaled_losses, power=1.0)),
        "ratio scaled once": but(predict=partial(unscaled_losses, power=1.0)),
    },
    examples=(Scaled(), Scaled(process="VE", ratio=4.0, scale=0.2)),
    draws=Draws(shapes=40, values=1),
)
