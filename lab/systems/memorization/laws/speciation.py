"""When a reverse diffusion decides between two classes: curvature of the density, agreement of clones."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.mixtures import gmm_two
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import denoisers
from lab.models.diffusion import OU, Process, process
from lab.params import Ge, Le, LogScale, Params
from lab.systems.memorization.laws.mmse import reverse_labels
from lab.systems.memorization.theory import partial_memoriser
from lab.systems.memorization.theory import speciation as theory

PUBLISHED = "arXiv:2402.18491"
DERIVED = "derived for this laboratory; not found in arXiv:2402.18491 or arXiv:2508.17689"


class TwoClasses(Params):
    """Two equally likely classes of means plus and minus mu, variance v, in d dimensions; |mu|² >= 1.2 v + .2.

    Then the noiseless density has two maxima, and speciation does not come as late as the end.
    """

    process: Literal["OU", "VP", "FM", "VE"] = "OU"
    d: Annotated[int, Ge(1), Le(60)] = 10
    radius: Annotated[float, Ge(0.5), Le(30.0), LogScale()] = 4.0
    v: Annotated[float, Ge(0.0), Le(4.0)] = 1.0

    @model_validator(mode="after")
    def _two_maxima(self) -> Self:
        if self.radius**2 < 1.2 * self.v + 0.2:
            raise ValueError(f"radius={self.radius:g}, v={self.v:g}: need radius² >= 1.2 v + .2; raise radius")
        return self

    @property
    def noising(self) -> Process:
        return process(self.process)


def log_density(y: Any, mu: Any, variance: Any, t: Any, noising: Process, tilt: Any = 0.0) -> Any:
    """Logarithm of the noisy density of means plus and minus mu at y (d,), up to a constant in y; JAX.

    `tilt` is the logarithm of the ratio of the weights of the two.
    """
    import jax.numpy as jnp

    a, s = noising.alpha(t), noising.sigma(t)
    squares = jnp.array([jnp.sum((y - a * mu) ** 2), jnp.sum((y + a * mu) ** 2)])
    exponents = -squares / (2 * (a * a * variance + s * s))
    # logsumexp by hand: derivatives at y = 0, where the two are equal, must not meet a maximum's corner
    shift = exponents[0] + exponents[1]
    return shift / 2 + jnp.log(jnp.cosh((exponents[0] - exponents[1] + tilt) / 2))


def flat_time(p: TwoClasses, mu: Any, tilt: Any = 0.0) -> Any:
    """Time at which the curvature of the log-density at 0 along mu changes sign; JAX.

    Bisection in the ratio sigma/alpha, between 1e-3 and 1e3.
    """
    import jax
    import jax.numpy as jnp

    noising = p.noising
    unit = mu / jnp.sqrt(jnp.sum(mu**2))

    def curvature(ratio: Any) -> Any:
        def along(step: Any) -> Any:
            t = noising.time_of_ratio(ratio)
            return log_density(step * unit, mu, p.v, t, noising, tilt)

        return jax.grad(jax.grad(along))(0.0)

    def halve(ends: Any, _: None) -> tuple[Any, None]:
        low, high = ends
        middle = (low + high) / 2
        positive = curvature(jnp.exp(middle)) > 0  # two maxima: less noise than at the edge
        return (jnp.where(positive, middle, low), jnp.where(positive, high, middle)), None

    ends = (jnp.log(jnp.asarray(1e-3)), jnp.log(jnp.asarray(1e3)))
    low, high = jax.lax.scan(halve, ends, None, length=56)[0]
    return noising.time_of_ratio(jnp.exp((low + high) / 2))


@measurement(runs="jax")
def onset_of_two_maxima(p: TwoClasses, stream, *, tilt: float = 0.0):
    """Time of the sign change, by automatic differentiation, mu in a random direction; `tilt` makes weights uneven."""
    import jax
    import jax.numpy as jnp

    direction = jax.random.normal(stream.jax("direction"), (p.d,), dtype=float)
    return {"time": flat_time(p, p.radius * direction / jnp.sqrt(jnp.sum(direction**2)), tilt)}


def time_of_speciation(p: TwoClasses) -> float:
    return float(theory.speciation_time(p.noising, p.radius, p.v))


def time_of_largest_eigenvalue(p: TwoClasses) -> float:
    """1/2 log of the largest eigenvalue |mu|² + v of the covariance, for OU; its signal-to-noise ratio elsewhere."""
    return float(p.noising.time_of_ratio(np.sqrt(p.radius**2 + p.v - 1 + 1e-9)))


def curvature_rounding(p: TwoClasses) -> float:
    """the curvature is a difference of two terms of size 1/Gamma with some 16 roundings; it is 0 where (radius² - v)
    alpha²/sigma² = 1, so the ratio of sigma and alpha is known to 16 (radius² + v)/(radius² - v) epsilon, times the
    conditioning |dlog t/dlog ratio| <= 1 of the time; 56 halvings of 13.8 leave 2 epsilon"""
    ratio = (p.radius**2 + p.v) / (p.radius**2 - p.v)
    return 32 * ratio * time_of_speciation(p)


ONE = (TwoClasses(),)

SPECIATION = Law(
    id="memorization/speciation",
    source=Source(PUBLISHED, "speciation time, for v = 1 and large dimension; exact form with v derived here"),
    statement="""
    Between two classes of means plus and minus mu and variance v the noisy density has one maximum until the curvature
    of its logarithm at 0 along mu changes sign. In a reverse diffusion this is at

        psi_S = 1/(|mu|² - v):    OU  t_S = 1/2 log(|mu|² + 1 - v),

    exactly, in every dimension; log |mu| for v = 1. The general rule 1/2 log of the largest eigenvalue of the
    covariance, |mu|² + v, is the same to leading order only (control). Classes of equal weight (control).
    """,
    params=TwoClasses,
    predict=time_of_speciation,
    measure=onset_of_two_maxima,
    claim=Equality(of="time", rounding=curvature_rounding, resolve=1e-9),
    controls={
        "largest eigenvalue": but(predict=time_of_largest_eigenvalue, examples=ONE),
        "classes of uneven weight": but(measure=partial(onset_of_two_maxima, tilt=0.2), examples=ONE),
    },
    examples=(
        TwoClasses(), TwoClasses(v=0.0, radius=1.0), TwoClasses(v=4.0, radius=2.3), TwoClasses(process="VP", v=0.3),
        TwoClasses(process="VP", radius=20.0),
    ),
    draws=Draws(shapes=1, values=8),
)  # fmt: skip

# ---------------------------------------------------------------------- agreement

SAMPLES = 2000
"""Noisy samples of one replicate."""

RATIOS = np.geomspace(0.25, 6.0, 14)
"""Times of a curve: signal-to-noise ratios over that of the onset."""


@measurement
def agreement_at_onset(p: TwoClasses, stream, *, noisier: float = 1.0, unequal: bool = False):
    """Agreement of two reverse diffusions started at the onset of two maxima, found by bisecting the curvature.

    Three estimates: posterior probability of the true class, sum of squared probabilities, coincidences of two
    simulated reverse diffusions. Also the second along times, in units of the onset's signal-to-noise ratio.
    `noisier` multiplies sigma/alpha of the start; `unequal` makes one class wider by 4 v (kept out of the posterior).
    """
    rng = stream.numpy("samples")
    mixture = gmm_two(rng, p.d, p.radius, p.v, SAMPLES)
    x = mixture.X + (unequal * (mixture.labels == 0)[:, None]) * 2 * np.sqrt(p.v) * rng.standard_normal((SAMPLES, p.d))
    onset = _bisected_ratio(p)
    noise = rng.standard_normal(x.shape)

    def weights(ratio: float) -> np.ndarray:
        return denoisers.posterior_weights(x + ratio * noise, mixture.means, p.v, 1.0, ratio)

    chosen = noisier * onset
    there = weights(chosen)
    true = there[np.arange(SAMPLES), mixture.labels]
    y = x + chosen * noise
    one, two = (reverse_labels(rng, y, mixture.means, p.v, chosen) for _ in range(2))
    curve = [np.mean(np.sum(weights(onset / np.sqrt(ratio)) ** 2, axis=1)) for ratio in RATIOS]
    return {
        "agreement": np.array([true.mean(), np.sum(there**2, axis=1).mean(), np.mean(one == two)]),
        "ratio": RATIOS, "along": np.array(curve), "time": np.asarray(p.noising.time_of_ratio(onset)),
    }  # fmt: skip


def _bisected_ratio(p: TwoClasses) -> float:
    """sigma/alpha where the second difference of the log-density at 0 changes sign."""
    low, high, step = np.log(1e-3), np.log(1e3), 1e-3
    for _ in range(50):
        middle = (low + high) / 2
        width = p.v + np.exp(2 * middle)  # alpha = 1
        at = np.array([-1, 0, 1]) * step * np.sqrt(width)
        exponents = -((at[:, None] - p.radius * np.array([1, -1])) ** 2) / (2 * width)
        values = np.logaddexp(exponents[:, 0], exponents[:, 1])
        positive = values[0] - 2 * values[1] + values[2] > 0
        low, high = (middle, high) if positive else (low, middle)
    return float(np.exp((low + high) / 2))


def phi_of_one(p: TwoClasses) -> np.ndarray:
    return np.full(3, theory.speciation_agreement())


def second_difference(p: TwoClasses) -> float:
    """the step of 1e-3 widths shifts the onset by at most 1e-5, its rounding (3 epsilon radius²/width, over 1e-6) by
    less; the agreement moves by less than a fifth of the relative shift"""
    return 1e-5


SPECIATION_AGREEMENT = Law(
    id="memorization/speciation-agreement",
    source=Source(DERIVED),
    statement="""
    Two reverse diffusions started from one noisy sample at the time of speciation, where the density between two
    classes of equal shape becomes flat, end in the same class with probability

        phi(1) = (1 + E tanh(1 + Z))/2 = .775200,

    whatever dimension, variance, distance and process: there g = alpha² |mu|²/(alpha² v + sigma²) = 1. It is also the
    average posterior probability of the true class and of the sum of squared probabilities. Classes of different shape
    agree less or more (control).
    """,
    params=TwoClasses,
    predict=phi_of_one,
    measure=agreement_at_onset,
    claim=Equality(of="agreement", over="mean", finite_size=second_difference, resolve=0.02),
    controls={
        "a quarter more noise": but(measure=partial(agreement_at_onset, noisier=1.25), examples=ONE),
        "classes of different shape": but(
            measure=partial(agreement_at_onset, unequal=True), examples=(TwoClasses(radius=2.0),)
        ),
        "without fluctuations": but(predict=lambda p: np.full(3, 1 / (1 + np.exp(-2.0)))),
    },
    examples=(*ONE, TwoClasses(v=0.0, radius=1.0, d=3), TwoClasses(d=60, radius=8.0, v=2.0)),
    draws=Draws(shapes=0, replicates=12),
)

# ---------------------------------------------------------------------- three regimes


class TwoSets(Params):
    """N training points of two classes of means plus and minus mu, `count` in each on average, along OU time."""

    d: Annotated[int, Ge(10), Le(200)] = 30
    radius: Annotated[float, Ge(3.0), Le(60.0), LogScale()] = 6.0
    v: Annotated[float, Ge(0.25), Le(2.0)] = 1.0
    count: Annotated[int, Ge(10), Le(4000), LogScale()] = 50

    @property
    def times(self) -> np.ndarray:
        """Times from .1 to 4."""
        return np.linspace(0.1, 4.0, 27)

    @property
    def signal(self) -> np.ndarray:
        """Signal-to-noise ratios at these times."""
        return OU.snr(self.times)


@measurement
def clone_agreement(p: TwoSets, stream, *, copies: int = 1):
    """Chance that clones agree on the class, and on the training point: sums of squared probabilities along time.

    The first is that of the true mixture's posterior, the second of the posterior over training points.
    """
    mixture = gmm_two(stream.numpy("data"), p.d, p.radius, p.v, 2 * p.count)
    x = np.concatenate([mixture.X] * copies)
    right = stream.numpy("chosen").integers(2 * p.count, size=100)
    noise = stream.numpy("noise").standard_normal((100, p.d))
    found = []
    for t in p.times:
        a, s = OU.alpha(t), OU.sigma(t)
        y = a * mixture.X[right] + s * noise
        classes = denoisers.posterior_weights(y, mixture.means, p.v, a, s)
        points = denoisers.posterior_weights(y, x, 0.0, a, s)
        found.append([np.mean(np.sum(weights**2, axis=1)) for weights in (classes, points)])
    return {"time": p.times, "agreement": np.array(found)}


def agreement_curves(p: TwoSets, *, one_class: bool = False) -> np.ndarray:
    """Agreement on the class and on the point along time, shape (T, 2); as if all points were of one class if so."""
    share = 1.0 if one_class else 0.5
    points = [float(partial_memoriser.recall(p.d, 2 * p.count, psi, p.v, share=share)) for psi in p.signal]
    return np.stack([theory.class_agreement(p.signal, p.radius, p.v), np.array(points)], axis=1)


def confusion_of_classes(p: TwoSets) -> np.ndarray:
    """the curve of the points takes the class for known; points of the other class take their share of the posterior
    from all others alike, 2 (1 - phi) of it on average at most. Where agreement lacks less than .01, a few rare samples
    decide, of which Student's interval knows nothing: there it is claimed within what it lacks"""
    curves = agreement_curves(p)
    rare = np.where(1 - curves < 0.01, 1 - curves, 0.0) + 1e-9
    return rare + np.stack([np.zeros(len(curves)), 2 * (1 - curves[:, 0]) * curves[:, 1]], axis=1)


THREE_REGIMES = Law(
    id="memorization/three-regimes",
    source=Source("arXiv:2402.18491", "the three regimes; both curves derived here"),
    statement="""
    Clones, reverse diffusions from one noisy sample, agree on nothing at first, then on the class, then on the training
    point. Two classes of N/2 points, OU process, along time: chance of agreement

        on the class phi(g), g = alpha² |mu|²/(alpha² v + sigma²), .7752 at t_S = 1/2 log(|mu|² + 1 - v);
        on the point E sum_i p_i², about .57 at t_C = 1/2 log(1 + v/((N/2)^(2/d) - 1)),

    the second by quadrature, where the class is known (phi near 1), else within the confusion of classes.
    """,
    params=TwoSets,
    predict=agreement_curves,
    measure=clone_agreement,
    claim=Equality(of="agreement", over="mean", finite_size=confusion_of_classes, scale=1.0),
    controls={
        "all points of one class": but(predict=partial(agreement_curves, one_class=True)),
        "every point twice": but(measure=partial(clone_agreement, copies=2)),
    },
    examples=(TwoSets(), TwoSets(d=60, radius=15.0, count=30, v=0.5)),
    draws=Draws(shapes=0, replicates=24),
)
