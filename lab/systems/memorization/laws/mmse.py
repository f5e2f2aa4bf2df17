"""Least losses of isotropic mixtures, and how surely the label of a noisy sample is known."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.mixtures import mixture_samples
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import denoisers
from lab.params import Ge, Le, LogScale, Params
from lab.systems.memorization import theory
from lab.systems.memorization.laws.identities import DERIVED, Labelled

DRAWS = 4000
"""Noisy samples of one replicate."""

# ---------------------------------------------------------------------- isotropic mixtures


class Mixture(Labelled):
    """Isotropic mixtures with closed forms: one mean, two, orthogonal ones, or K <= 4 means anywhere, any priors."""

    arrangement: Literal["one", "opposite", "orthogonal", "any"] = "opposite"  # type: ignore[assignment]
    d: Annotated[int, Ge(4), Le(40)] = 10

    @model_validator(mode="after")
    def _few(self) -> Self:
        if self.arrangement == "any" and self.K > 4:
            raise ValueError(f"K={self.K} means in any place: the closed form takes at most 4; lower K")
        return self


def placed_means(p: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Means (K, d) and priors (K,); those in any place lie on a spiral in three dimensions, with priors 1:2:3:4."""
    if p.arrangement == "any":
        k = np.arange(p.K)
        means = np.zeros((p.K, p.d))
        spiral = np.stack([np.cos(2.4 * k), np.sin(2.4 * k), 0.4 * k], axis=1)
        means[:, :3] = p.radius * (0.5 + k / p.K)[:, None] * spiral
        return means, (k + 1) / np.sum(k + 1)
    count = {"one": 1, "opposite": 1, "orthogonal": p.K}[p.arrangement]
    means = p.radius * np.eye(count, p.d)
    if p.arrangement == "opposite":
        means = np.concatenate([means, -means])
    return means, np.full(len(means), 1 / len(means))


def mixture_mmse(p: Mixture, *, seen: bool = True, error: bool = True) -> tuple[float, float]:
    """Least loss and its quadrature error; labels seen at psi instead of psi/(1 + psi v) if not `seen`."""
    q = p.psi / (1 + p.psi * p.v) if seen else p.psi
    rounding = 1e-10
    if p.arrangement == "one" or not error:
        label = 0.0
    elif p.arrangement == "any":
        label, rounding = theory.label_error(q, *placed_means(p)), 1e-6
    elif p.arrangement == "opposite":
        label = float(theory.two_means_label_error(q, p.radius))
    else:
        label = float(theory.orthogonal_label_error(q, p.radius, p.K))
    loss = float(theory.mixture_mmse(p.psi, p.d, v=p.v, error=label))
    return loss, rounding * loss


@measurement
def generaliser_loss(p: Mixture, stream):
    """Loss of the true mixture's denoiser on fresh samples."""
    rng = stream.numpy("samples")
    means, priors = placed_means(p)
    x = mixture_samples(rng, means, p.v, DRAWS, priors=priors.tolist()).X
    s = 1 / math.sqrt(p.psi)
    y = x + s * rng.standard_normal(x.shape)
    best = denoisers.posterior_mean(y, means, p.v, 1.0, s, np.log(priors))
    return {"loss": np.mean(np.sum((best - x) ** 2, axis=1))}


GMM_MMSE = Law(
    id="memorization/gmm-mmse",
    source=Source(DERIVED),
    statement="""
    Least loss of an isotropic mixture with means mu_k, any priors, variance v per coordinate:

        mmse(psi) = d v/(1 + psi v) + D(psi/(1 + psi v))/(1 + psi v)²,

    D(q) the least squared error of mu_k from sqrt(q) mu_k + z. One mean: D = 0. Means plus and minus r:
    D = r² (1 - E tanh(g + sqrt(g) Z)), g = q r². K orthogonal means of length r: D = r² (1 - E p_true), one integral.
    At most four means in any place: quadrature over their span. It is also the expected *training* loss of the true
    mixture, which does not depend on the data. The published law has the first term alone (control), up to 2 times too
    little at low psi. Measured: loss of the true mixture's denoiser on fresh samples.
    """,
    params=Mixture,
    predict=mixture_mmse,
    measure=generaliser_loss,
    claim=Equality(of="loss", over="mean", resolve=0.05),
    controls={
        "labels taken as known": but(predict=partial(mixture_mmse, error=False)),
        "labels seen at psi": but(predict=partial(mixture_mmse, seen=False)),
    },
    examples=(
        Mixture(psi=0.3), Mixture(arrangement="orthogonal", d=20, K=20, radius=3.0, v=1.0, psi=1.0),
        Mixture(arrangement="one", d=30, v=1.0), Mixture(arrangement="any", K=4, radius=4.0, v=0.2),
    ),
    draws=Draws(shapes=16, values=1, replicates=12),
)  # fmt: skip

# ---------------------------------------------------------------------- certainty of the label


class Doubtful(Labelled):
    """Mixtures whose labels are in doubt: g = psi radius²/(1 + psi v) is at most 8 (two classes: .4 % doubt)."""

    @model_validator(mode="after")
    def _in_doubt(self) -> Self:
        if self.g > 8:
            raise ValueError(
                f"radius={self.radius}, psi={self.psi}, v={self.v} give g={self.g:.3g} > 8, where samples show no "
                "wrong label; lower radius or psi"
            )
        return self

    @property
    def g(self) -> float:
        """Squared length of the noisy means in units of their width."""
        return self.psi * self.radius**2 / (1 + self.psi * self.v)


def agreement(p: Doubtful, *, fluctuations: bool = True) -> np.ndarray:
    """Mean probability of the true label, mean sum of squares, chance that two clones agree: one number."""
    g = p.g
    if not fluctuations:  # (1 + tanh g)/2 for two classes
        value = 1 / (1 + np.exp(-2 * g)) if p.arrangement == "opposite" else 1 / (1 + (p.K - 1) * np.exp(-g))
    elif p.arrangement == "opposite":
        value = theory.two_class_agreement(g)
    else:
        value = theory.orthogonal_agreement(g, p.K)
    return np.full(3, float(value))


def reverse_labels(rng: np.random.Generator, y: np.ndarray, means: np.ndarray, v: float, s: float) -> np.ndarray:
    """Labels in which reverse diffusions from y (alpha = 1, noise s) end: exact transitions to s/4, ..., s/1024.

    A transition draws x from its posterior and then the less noisy sample from the bridge between x and y.
    """
    for _ in range(5):
        x, _ = _posterior_draw(rng, y, means, v, s)
        y = x + (y - x) / 16 + s / 4 * math.sqrt(15 / 16) * rng.standard_normal(y.shape)
        s /= 4
    return _posterior_draw(rng, y, means, v, s)[1]


def _posterior_draw(
    rng: np.random.Generator, y: np.ndarray, means: np.ndarray, v: float, s: float
) -> tuple[np.ndarray, np.ndarray]:
    cumulative = np.cumsum(denoisers.posterior_weights(y, means, v, 1.0, s), axis=1)
    label = np.minimum((rng.random(len(y))[:, None] > cumulative).sum(axis=1), len(means) - 1)
    own = means[label]
    noise = math.sqrt(v * s * s / (v + s * s)) * rng.standard_normal(y.shape)
    return own + v / (v + s * s) * (y - own) + noise, label


@measurement
def label_agreement(p: Doubtful, stream, *, wrong: float = 1.0):
    """Posterior probability of the true label, sum of squared probabilities, agreement of two reverse diffusions.

    `wrong` scales the noise level that the posterior believes in.
    """
    rng = stream.numpy("samples")
    mixture = p.mixture(rng, DRAWS // 2)
    s = 1 / math.sqrt(p.psi)
    y = mixture.X + s * rng.standard_normal(mixture.X.shape)
    weights = denoisers.posterior_weights(y, mixture.means, p.v, 1.0, wrong * s)
    true = np.take_along_axis(weights, mixture.labels[:, None], axis=1)
    one, two = (reverse_labels(rng, y, mixture.means, p.v, wrong * s) for _ in range(2))
    return {"agreement": np.array([true.mean(), np.sum(weights**2, axis=1).mean(), np.mean(one == two)])}


CLONE_AGREEMENT = Law(
    id="memorization/clone-agreement",
    source=Source(DERIVED),
    statement="""
    For matched posteriors E p_true = E sum_k p_k² = chance that two reverse diffusions started from one y end in the
    same class. For classes plus and minus mu with variance v, at g = alpha² |mu|²/(alpha² v + sigma²),

        phi(g) = (1 + E tanh(g + sqrt(g) Z))/2 = (1 + E tanh²(g + sqrt(g) Z))/2,    phi(1) = .7752;

    for K orthogonal means of equal length, int f(w) F(w+g)^(K-1) dw with F the distribution function of sqrt(g) Z plus
    Gumbel noise; v = 0 covers N = K equidistant training points and the memorising denoiser, g = psi D2/2 with their
    squared distance D2. A posterior that believes in another noise level breaks all three (control).
    """,
    params=Doubtful,
    predict=agreement,
    measure=label_agreement,
    claim=Equality(of="agreement", over="mean", resolve=0.05),
    controls={
        "posterior of another noise level": but(measure=partial(label_agreement, wrong=1.5)),
        "fluctuations left out": but(predict=partial(agreement, fluctuations=False)),
    },
    examples=(Doubtful(v=0.0, radius=1.0, psi=1.0), Doubtful(arrangement="orthogonal", d=20, K=20, v=0.0, psi=1.0)),
    draws=Draws(shapes=6, values=1, replicates=12),
)


class Points(Params):
    """N points, Gaussian in d dimensions, with weights of their own."""

    N: Annotated[int, Ge(2), Le(100)] = 20
    d: Annotated[int, Ge(1), Le(20)] = 5
    v: Annotated[float, Ge(0.0), Le(1.0)] = 0.0
    psi: Annotated[float, Ge(0.02), Le(5.0), LogScale()] = 0.5
    concentration: Annotated[float, Ge(0.3), Le(10.0), LogScale()] = 2.0


@measurement
def nishimori_gap(p: Points, stream, *, wrong: float = 1.0, power: float = 1.0):
    """Mean of p_true - sum_i p_i² over noisy samples of one set of points.

    `power` is that of the weights in the posterior. (A power of 0 would not show: averaged over independent points the
    weights are exchangeable, and a uniform posterior is again the matched one.)
    """
    rng = stream.numpy("points")
    X, priors = rng.standard_normal((p.N, p.d)), rng.dirichlet(np.full(p.N, p.concentration))
    mixture = mixture_samples(rng, X, p.v, DRAWS, priors=priors)
    s = 1 / math.sqrt(p.psi)
    y = mixture.X + s * rng.standard_normal(mixture.X.shape)
    weights = denoisers.posterior_weights(y, X, p.v, 1.0, wrong * s, power * np.log(priors))
    true = np.take_along_axis(weights, mixture.labels[:, None], axis=1)[:, 0]
    return {"gap": np.mean(true - np.sum(weights**2, axis=1))}


NISHIMORI = Law(
    id="memorization/nishimori",
    source=Source("Nishimori 1980, Iba 1999", "Bayes-optimal identity; for denoisers derived here"),
    statement="""
    For any points or cluster means, any weights and any noise level, the matched posterior has E p_true = E sum_i p_i²:
    how much a denoiser trusts the right point is how concentrated its posterior is, and can be read off without knowing
    the right one. A posterior with another noise level, or with the weights counted twice, breaks it (controls).
    """,
    params=Points,
    predict=lambda p: 0.0,
    measure=nishimori_gap,
    claim=Equality(of="gap", over="mean", scale=1.0, resolve=0.02),
    controls={
        "posterior of another noise level": but(measure=partial(nishimori_gap, wrong=1.5)),
        "weights counted twice": but(measure=partial(nishimori_gap, power=2.0)),
    },
    examples=(Points(), Points(N=4, d=1, v=0.3, concentration=0.5)),
    draws=Draws(shapes=12, values=1, replicates=12),
)
