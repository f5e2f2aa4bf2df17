"""Mixtures of low-rank Gaussians: least losses of subspaces, and how the labels of coloured templates are confused."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Rate
from lab.data.mixtures import low_rank_gmm
from lab.data.templates import coloured_templates, procedural_templates, template_components
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import low_rank_denoisers
from lab.objectives.memorization import memorization_ratio
from lab.params import Ge, Le, LogScale, Params
from lab.systems.memorization import dynamics, theory
from lab.systems.memorization.laws.identities import DERIVED

DRAWS = 4000
"""Noisy samples of one replicate."""


class Subspaces(Params):
    """K orthogonal subspaces of dimension r, uniform labels, in `channels` channels; unequal eigenvalues if K = 1."""

    K: Annotated[int, Ge(1), Le(8)] = 3
    r: Annotated[int, Ge(1), Le(4)] = 2
    channels: Annotated[int, Ge(1), Le(3)] = 1
    rest: Annotated[int, Ge(0), Le(10)] = 3
    variance: Annotated[float, Ge(0.2), Le(5.0), LogScale()] = 1.0
    spectrum: Literal["equal", "geometric"] = "equal"
    psi: Annotated[float, Ge(0.1), Le(30.0), LogScale()] = 2.0

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if self.K > 1 and self.spectrum != "equal":
            raise ValueError(f"K={self.K} subspaces need spectrum='equal' (closed form); set it, or K=1")
        return self

    @property
    def eigenvalues(self) -> np.ndarray:
        decay = 0.5 if self.spectrum == "geometric" else 1.0
        return self.variance * decay ** np.arange(self.r)


def subspaces_mmse(p: Subspaces, *, labels_known: bool = False) -> float:
    if p.K == 1 or labels_known:
        return float(theory.low_rank_mmse(p.psi, p.eigenvalues, channels=p.channels))
    return theory.orthogonal_subspaces_mmse(p.psi, p.variance, p.r * p.channels, p.K)


@measurement
def subspace_loss(p: Subspaces, stream, *, determinant: float = 1.0):
    """Loss of the true mixture's denoiser on fresh samples; `determinant` multiplies the eigenvalues it believes in."""
    rng = stream.numpy("samples")
    P = p.K * p.r + p.rest
    mixture = low_rank_gmm(rng, P, p.K, p.eigenvalues.tolist(), DRAWS, orthogonal=True)
    bases = mixture.bases
    g = rng.standard_normal((DRAWS, p.channels, p.r)) * np.sqrt(p.eigenvalues)
    x = (g @ np.swapaxes(bases[mixture.labels], 1, 2)).reshape(DRAWS, -1)
    s = 1 / math.sqrt(p.psi)
    y = x + s * rng.standard_normal(x.shape)
    believed = np.broadcast_to(determinant * p.eigenvalues, (p.K, p.r))
    best = low_rank_denoisers.posterior_mean(y, bases, believed, 1.0, s, channels=p.channels)
    return {"loss": np.mean(np.sum((best - x) ** 2, axis=1))}


LOW_RANK_MMSE = Law(
    id="memorization/low-rank-mmse",
    source=Source(DERIVED),
    statement="""
    Least loss of a mixture of low-rank Gaussians with covariances U_k diag(lambda_k) U_k^T in each of C channels:

        mmse(psi) >= C mean_k sum_i lambda_ki/(1 + psi lambda_ki),

    with equality for K = 1 and, as psi grows, in the limit (subspaces then tell themselves apart). The excess is the
    mean spread of the component means under the posterior label. For orthogonal subspaces with equal eigenvalues it is
    a double integral over chi-square variables, and then the law is exact at every psi. Dropping the excess (control)
    is wrong by up to half at psi lambda about 1. Measured: loss of the true mixture's denoiser on fresh samples.
    """,
    params=Subspaces,
    predict=subspaces_mmse,
    measure=subspace_loss,
    claim=Equality(of="loss", over="mean", resolve=0.05),
    controls={
        "labels taken as known": but(predict=partial(subspaces_mmse, labels_known=True)),
        "denoiser of twice the variance": but(measure=partial(subspace_loss, determinant=2.0)),
    },
    examples=(Subspaces(), Subspaces(K=1, r=4, spectrum="geometric"), Subspaces(K=4, r=1, channels=3, psi=1.0)),
    draws=Draws(shapes=10, values=1, replicates=12),
)

# ---------------------------------------------------------------------- coloured templates


class Templates(Params):
    """K procedural templates of side x side pixels, each times a random colour of C channels and variance `variance`.

    The brightest template is `contrast` times as bright as the faintest, geometrically in between.
    """

    K: Annotated[int, Ge(2), Le(8)] = 6
    side: Annotated[int, Ge(8), Le(24)] = 15
    colours: Annotated[int, Ge(1), Le(4)] = 3
    variance: Annotated[float, Ge(0.2), Le(5.0), LogScale()] = 1.0
    contrast: Annotated[float, Ge(1.0), Le(6.0), LogScale()] = 1.0


def spanned_templates(p: Templates, stream) -> np.ndarray:
    """Templates (K, K) in coordinates of their span: noise outside it tells nothing, and no signal is there."""
    T = procedural_templates(stream.numpy("templates"), K=p.K, shape=(p.side, p.side)).reshape(p.K, -1)
    return np.linalg.qr(T.T)[1].T * np.geomspace(1, 1 / p.contrast, p.K)[:, None]


def label_spread(y: np.ndarray, weights: np.ndarray, mixture: dict, sigma: float) -> np.ndarray:
    """Variance of the component means E[x|y,k] under the label's weights, per sample; alpha = 1."""
    U, lam = mixture["bases"][:, :, 0], mixture["eigenvalues"][:, 0]
    coordinates = y.reshape(len(y), mixture["channels"], -1) @ U.T * (lam / (lam + sigma**2))  # (n, C, K)
    weighted = coordinates * weights[:, None, :]
    return np.sum(weighted * coordinates, axis=(1, 2)) - np.sum((weighted @ U) ** 2, axis=(1, 2))


# ---------------------------------------------------------------------- their least loss

LOW_GAINS = np.geomspace(0.1, 1000, 9)
"""psi variance |T|² at the mean squared norm of the templates, for losses."""

SHARES = np.round(np.arange(0.1, 1.01, 0.1), 1)
"""Model sizes per training point of the clustering surrogate, on 100 points."""


@measurement
def template_losses(p: Templates, stream, *, determinant: bool = True):
    """Errors on fresh samples of the best denoiser and of one told the label, relative to the loss of known labels.

    `split` (2, gains): error when told the label, less its predicted loss; error of the best denoiser, less that when
    told the label, less the spread of the component means under the posterior label. Without `determinant` the
    posterior counts the channels once in its log-determinant. `copies`: share of copies among samples of a clustering
    of 100 training points (no law about it).
    """
    rng, T = stream.numpy("samples"), spanned_templates(p, stream)
    given = template_components(T, colours=p.colours, variance=p.variance)
    data = coloured_templates(rng, T, DRAWS, colours=p.colours, variance=p.variance)
    z = rng.standard_normal(data.X.shape)
    lam, U = given["eigenvalues"][:, 0], given["bases"][data.labels, :, 0]
    rows = []
    for gain in LOW_GAINS:
        s = math.sqrt(p.variance * np.sum(T**2) / p.K / gain)
        y = data.X + s * z
        once = (p.colours - 1) / 2 * np.log1p(lam / s**2)
        options = {**given, "alpha": 1.0, "sigma": s, "log_priors": 0 * once if determinant else once}
        weights = low_rank_denoisers.posterior_weights(y, **options)
        best, published = (low_rank_denoisers.posterior_mean(y, **{**options, "log_priors": q})
                           for q in (options["log_priors"], once))  # fmt: skip
        colour = np.sum(y.reshape(DRAWS, p.colours, -1) * U[:, None], axis=2) * (lam / (lam + s**2))[data.labels, None]
        told = (colour[:, :, None] * U[:, None]).reshape(DRAWS, -1)
        errors = [np.mean(np.sum((f - data.X) ** 2, axis=1)) for f in (best, told, published)]
        rows.append([*errors, np.mean(label_spread(y, weights, given, s)),
                     float(theory.low_rank_mmse(s**-2, lam[:, None], channels=p.colours))])  # fmt: skip
    loss, told, published, spread, known = np.array(rows).T
    return {
        "gain": LOW_GAINS, "split": np.stack([told - known, loss - told - spread]) / known, "ratio": loss / known,
        "published": published / known, "shares": SHARES, "copies": clustered_copies(rng, p, T),
    }  # fmt: skip


def clustered_copies(rng: np.random.Generator, p: Templates, T: np.ndarray) -> np.ndarray:
    """Share of copies among samples of a cluster centre plus a random colour of its template, at each of `SHARES`.

    Centres are Lloyd's from the first M of 100 training points; colours carry the residual variance.
    """
    X = coloured_templates(rng, T, 100, colours=p.colours, variance=p.variance).X
    squares, found = np.sum(T**2, axis=1), []
    for share in SHARES:
        centres, residual = dynamics.lloyd(X, round(100 * share))
        along = centres.reshape(len(centres), p.colours, p.K) @ T.T  # (M, C, K)
        label = np.argmax(np.sum(along**2, axis=1) / squares, axis=1)
        chosen = rng.integers(len(centres), size=300)
        variance = residual * X.shape[1] / (p.colours * squares[label].mean())
        colour = math.sqrt(variance) * rng.standard_normal((300, p.colours))
        made = centres[chosen] + (colour[:, :, None] * T[label[chosen]][:, None, :]).reshape(300, -1)
        found.append(memorization_ratio(made, X))
    return np.array(found)


TEMPLATE_MMSE = Law(
    id="memorization/template-mmse",
    source=Source(DERIVED),
    statement="""
    Coloured templates c (x) T_k, colours c ~ N(0, w I_C): the least loss splits exactly,

        mmse(psi) = C mean_k lambda_k/(1 + psi lambda_k) + E_y spread_k E[x|y,k],    lambda_k = w |T_k|²,

    known labels plus the spread of the component means under the posterior label (law of total variance): known labels
    are a lower bound. The posterior must be the true one: published code counts the channels once in its
    log-determinant, and its denoiser is not the best (control). Measured: errors on fresh samples of a denoiser told
    the label, less the first part; errors of the best denoiser, less those, less the second part.
    """,
    params=Templates,
    predict=lambda p: np.zeros((2, len(LOW_GAINS))),
    measure=template_losses,
    claim=Equality(of="split", over="mean", scale=1.0, resolve=0.02),
    controls={"channels counted once in the determinant": but(measure=partial(template_losses, determinant=False))},
    examples=(Templates(contrast=6.0, colours=4), Templates(colours=1, K=3)),
    draws=Draws(shapes=1, values=1, replicates=24),
)

# ---------------------------------------------------------------------- their confusion

GAINS = np.geomspace(300, 3e5, 10)
"""psi variance |T|² at the mean squared norm of the templates."""

FEW = 1500
"""Noisy samples of one replicate, weighted by importance."""


@measurement
def label_confusion(p: Templates, stream, *, power: float = 1.0):
    """Posterior probability of wrong templates, and spread of the component means relative to known labels.

    Faint colours alone are confused: half of the samples have colours of variance 9/gain, and all are weighted by the
    ratio of densities. `power` bends the colours, c |c|^(power - 1): 1 is Gaussian.
    """
    rng, T = stream.numpy("samples"), spanned_templates(p, stream)
    given = template_components(T, colours=p.colours, variance=p.variance)
    labels = rng.integers(p.K, size=FEW)
    unit = rng.standard_normal((FEW, p.colours))
    z = rng.standard_normal((FEW, p.colours * p.K))
    found = []
    for gain in GAINS:
        spread = 9 / gain ** (1 / power)
        c = np.where(np.arange(FEW)[:, None] % 2 == 0, math.sqrt(spread), 1.0) * unit
        square = np.sum(c**2, axis=1, keepdims=True)
        proposed = 0.5 + 0.5 * spread ** (-p.colours / 2) * np.exp(-square / 2 * (1 / spread - 1))  # over the target
        c = math.sqrt(p.variance) * c * square ** ((power - 1) / 2)
        x = (c[:, :, None] * T[labels][:, None, :]).reshape(FEW, -1)
        s = math.sqrt(p.variance * np.sum(T**2) / p.K / gain)
        weights = low_rank_denoisers.posterior_weights(x + s * z, alpha=1.0, sigma=s, **given)
        wrong = 1 - np.take_along_axis(weights, labels[:, None], axis=1)[:, 0]
        spread = label_spread(x + s * z, weights, given, s) / (p.colours * s**2)
        found.append([np.mean(one / proposed[:, 0]) for one in (wrong, spread)])
    return {"gain": GAINS, "confusion": np.array(found)}


def confusion_order(p: Templates, *, channels: bool = True) -> float:
    return theory.confusion_exponent(1, p.colours if channels else 1)


LABEL_CONFUSION = Law(
    id="memorization/label-confusion",
    source=Source(DERIVED),
    statement="""
    Which template a noisy coloured image shows is uncertain only where its colour is faint: with templates in C
    colours, Gaussian around 0, the posterior probability of the wrong templates falls as psi^(-C/2), psi the
    signal-to-noise ratio (rank r and C channels: psi^(-C r/2)), and so does the relative excess of the least loss over
    that of known labels (memorization/template-mmse): a power law, not exponential as for isotropic clusters. Colours
    that are denser near 0 (here bent, control) have another exponent.
    """,
    params=Templates,
    predict=confusion_order,
    measure=label_confusion,
    claim=Rate(of="confusion", along="gain", order=1.0),
    controls={
        "colours bent, denser near 0": but(measure=partial(label_confusion, power=2.0)),
        "one channel": but(predict=partial(confusion_order, channels=False)),
    },
    examples=(Templates(), Templates(colours=2, K=3)),
    draws=Draws(shapes=2, values=1, replicates=12),
)
