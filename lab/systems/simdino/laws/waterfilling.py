"""The solvable model: a linear encoder with an averaged teacher, trained until it stands still."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Crossover, Equality, Rate
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.self_distillation import linear_distillation
from lab.params import Ge, Le, LogScale, MinLen, Params
from lab.systems.simdino import theory

DERIVED = "derived for this laboratory; not found in arXiv:2502.10385"
TOLERANCE = 1e-9  # last step of a run, in units of 1/sqrt(c)
ALIVE = 1e-3  # reduced second moment c s above which a mode counts as learned
LONGEST = 400_000  # steps of a run; about 13/rate are needed

Momentum = Annotated[float, Ge(0.0), Le(0.99)]


class Views(Params):
    """Views x = s + n of `inputs` modes whose noise fractions grow geometrically from `lowest` to `highest`.

    The second moment C of a view has a root of the given condition number, the modes any orientation in it. Student and
    teacher are linear, of dimension `dim`; `step` is the learning rate of steps preconditioned with C^-1.
    """

    inputs: Annotated[int, Ge(2), Le(5)] = 4
    dim: Annotated[int, Ge(1), Le(5)] = 3
    lowest: Annotated[float, Ge(0.1), Le(0.4)] = 0.3
    highest: Annotated[float, Ge(0.6), Le(0.95)] = 0.9
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.6
    step: Annotated[float, Ge(0.3), Le(1.0)] = 1.0
    condition: Annotated[float, Ge(1.0), Le(10.0), LogScale()] = 3.0

    @model_validator(mode="after")
    def _dimensions_fit(self) -> Self:
        if self.dim > self.inputs:
            raise ValueError(f"dim={self.dim} exceeds inputs={self.inputs}, the modes of the data; lower dim")
        return self

    @property
    def ratio(self):
        """Of one noise fraction to the next."""
        return (self.highest / self.lowest) ** (1 / (self.inputs - 1))

    @property
    def nu(self):
        """Noise fractions, ascending."""
        return self.lowest * self.ratio ** np.arange(self.inputs)

    @property
    def c(self):
        return self.dim / self.eps**2


class Staircase(Views):
    """Training with weights gamma on a staircase, ``gain = gamma d/eps^2``, and teachers of several momenta.

    Between neighbouring thresholds (and one step below the first, above the last) lie `per_stair` gains, evenly spaced
    in their logarithm, the outer ones this `margin` of a stair away from the thresholds: training slows down critically
    towards them. Points where the rate, about (1-m) nu_1 times the relative distance, is below `slowest` are left out.
    """

    momenta: Annotated[tuple[Momentum, ...], MinLen(1)] = (0.0, 0.8)
    per_stair: Annotated[int, Ge(2)] = 3
    margin: Annotated[float, Ge(0.05), Le(0.4)] = 0.15
    slowest: Annotated[float, Ge(1e-5)] = 2e-3

    @model_validator(mode="after")
    def _settles(self) -> Self:
        rate = (1 - max(self.momenta)) * self.step * self.lowest * (self.ratio**self.margin - 1)
        if rate < self.slowest:
            raise ValueError(
                f"margin={self.margin:.3g} of a stair (ratio {self.ratio:.3g}) settles at a rate of {rate:.2g} a step "
                f"with momentum {max(self.momenta):g}, less than slowest={self.slowest:g}; raise margin or lower the "
                "momentum, or lower slowest and wait longer"
            )
        return self

    @property
    def gain(self):
        """Gains, ascending, shape (G,); thresholds lie at lowest times whole powers of the ratio."""
        within = self.margin + (1 - 2 * self.margin) * np.linspace(0, 1, self.per_stair)
        stair = np.repeat(np.arange(-1, self.dim), self.per_stair)
        return self.lowest * self.ratio ** (stair + within[np.arange(stair.size) % self.per_stair])


class Onset(Views):
    """Weights gamma above the first threshold by relative excesses from .02 to .3."""

    momenta: Annotated[tuple[Annotated[float, Ge(0.0), Le(0.8)], ...], MinLen(1)] = (0.0, 0.5)

    @property
    def excess(self) -> np.ndarray:
        return np.geomspace(0.02, 0.3, 8)

    @property
    def gain(self):
        return self.lowest * (1 + self.excess)


def gammas(p) -> np.ndarray:
    """Weights of the rate, shape (G,)."""
    return np.asarray(p.gain) * p.eps**2 / p.dim


def settling_rates(p) -> np.ndarray:
    """Slowest relaxation per step, shape (M, G)."""
    rate = partial(theory.slowest_relaxation, p.nu, p.dim, eps=p.eps, step=p.step)
    return np.array([[rate(gamma=g, momentum=m) for g in gammas(p)] for m in p.momenta])


def moments(p: Views, root, frame) -> tuple:
    """C and the signal's moment from a root of C, and a rotation that places the modes: modes are frame^T root x."""
    turned = frame.T @ root
    return root.T @ root, turned.T @ ((1 - p.nu)[:, None] * turned)


def kept(momentum, leak, hold):
    """Momentum of the teacher: the law's, 0 without stop-gradient (it is the student then), 1 if it is held still."""
    return momentum * (1 - leak) * (1 - hold) + hold


@measurement(runs="jax")
def trained(p: Staircase, stream, *, leak: float = 0.0, power: float = 2.0, weight: float = 1.0, hold: float = 0.0):
    """For each momentum (M) and gain (G): second moments of the features after training, descending (M, G, d), their
    rank (M, G); along the gains (G, M) whether any was learned, and the leading amplitude.

    ``leak = 1`` makes the teacher the student and lets the gradient through both; gamma is
    ``weight gain eps**power/dim``; ``hold = 1`` keeps the teacher where it starts.
    """
    import jax
    import jax.numpy as jnp

    D, d = p.inputs, p.dim
    gain, momenta = jnp.asarray(p.gain), jnp.asarray(p.momenta)
    shape = (momenta.size, gain.size)
    # one draw for everything: generators make up most of the compilation
    drawn = jax.random.normal(stream.jax("views"), (2 * D * D + momenta.size * gain.size * D * d,))
    right, frame = jnp.linalg.qr(drawn[: 2 * D * D].reshape(2, D, D))[0]
    start = 2 * drawn[2 * D * D :].reshape(*shape, D, d) / jnp.sqrt(p.c)
    root = p.condition ** -jnp.linspace(0, 1, D)[:, None] * right
    C, signal = moments(p, root, frame)
    end = linear_distillation(
        start, moment=C, cross=signal, eps=p.eps, step=p.step, leak=leak, tolerance=TOLERANCE, max_steps=LONGEST,
        gamma=jnp.broadcast_to(weight * gain * p.eps**power / d, shape),
        momentum=jnp.broadcast_to(kept(momenta, leak, hold)[:, None], shape),
    )  # fmt: skip
    W = end.student
    spectrum = jnp.linalg.eigvalsh(W.mT @ (C @ W))[..., ::-1]
    alive = p.c * spectrum > ALIVE
    return {
        "spectrum": spectrum, "rank": alive.sum(-1), "gain": gain, "excess": gain / p.lowest - 1,
        "learned": alive[..., 0].T, "amplitude": jnp.sqrt(jnp.maximum(spectrum[..., 0], 0.0)).T, "steps": end.steps,
    }  # fmt: skip


def filled(p: Staircase, *, noisy: bool = False) -> np.ndarray:
    """Spectra (M, G, d): the same for every momentum. `noisy`: as if the noisiest modes were learned."""
    nu = p.nu[p.inputs - p.dim :] if noisy else p.nu
    spectra = [theory.waterfilling_spectrum(nu, p.dim, eps=p.eps, gamma=g) for g in gammas(p)]
    return np.broadcast_to(spectra, (len(p.momenta), len(spectra), p.dim))


def unsettled(p) -> np.ndarray:
    """a run stops when a step changes the amplitude by less than 1e-9/sqrt(c); the distance left is that over the
    slowest rate per step, e, times sqrt(dim inputs) for several modes: second moments (u = c s) are off by
    (2 sqrt(u) e + e^2)/c, and by the rounding of a Gram matrix"""
    largest = p.c * filled(p)[..., :1]
    e = TOLERANCE / settling_rates(p)[..., None] * np.sqrt(p.dim * p.inputs)
    rounding = np.finfo(float).eps * p.inputs * p.condition**2 * (1 + largest)
    return (2 * np.sqrt(largest) * e + e * e + rounding) / p.c * np.ones(p.dim)


MISTAKES = {
    "no stop-gradient": but(measure=partial(trained, leak=1.0), draws=Draws(shapes=0)),
    "eps for eps^2": but(measure=partial(trained, power=1.0), draws=Draws(shapes=0)),
}

EXAMPLES = (Staircase(), Staircase(eps=1.2, condition=10.0, lowest=0.2), Staircase(step=0.7, highest=0.95))

LINEAR_WATERFILLING = Law(
    id="simdino/linear-waterfilling",
    source=Source(DERIVED),
    statement="""
    Linear encoder z = x W trained by self-distillation with the coding rate (stop-gradient, teacher averaged with any
    momentum): the second moments of the features, eigenvalues of W^T C W, settle at

        max(0, gamma/nu_i - 1/c),   i = 1..d,   c = d/eps^2,

    for the d smallest noise fractions nu_i (generalised eigenvalues of the noise against C). Independent of momentum,
    step size, and start (unless W = 0). Trained by steps preconditioned with C^-1; population moments.
    """,
    params=Staircase,
    predict=filled,
    measure=trained,
    claim=Equality(of="spectrum", finite_size=unsettled, scale=lambda p: 1 / p.c, resolve=1e-2),
    controls={
        **MISTAKES,
        "no rate": but(measure=partial(trained, weight=0.0), draws=Draws(shapes=0)),
        "teacher held still": but(measure=partial(trained, hold=1.0), draws=Draws(shapes=0)),
        "noisy modes first": but(predict=lambda p: filled(p, noisy=True), draws=Draws(shapes=0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=1, values=6),
)


def predicted_ranks(p: Staircase) -> np.ndarray:
    ranks = [theory.filled_modes(p.nu, p.dim, eps=p.eps, gamma=g) for g in gammas(p)]
    return np.broadcast_to(ranks, (len(p.momenta), len(ranks)))


WATERFILLING_RANK = Law(
    id="simdino/waterfilling-rank",
    source=Source(DERIVED),
    statement="""
    Mode i of the data is learned iff gamma > gamma_i = nu_i eps^2/d: the rank of the features climbs a staircase, one
    step per noise fraction, up to d. The rank counts second moments above 1e-3/c. Gains lie on both sides of every
    threshold, none nearer than `margin` of a stair; every run has a start of its own.
    """,
    params=Staircase,
    predict=predicted_ranks,
    measure=trained,
    claim=Classification(of="rank"),
    controls={
        **MISTAKES,
        "no rate": but(measure=partial(trained, weight=0.0), draws=Draws(shapes=0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)

TOTAL_COLLAPSE = Law(
    id="simdino/total-collapse",
    source=Source(DERIVED),
    statement="""
    All features of the linear encoder collapse to zero iff gamma <= gamma_1 = nu_1 eps^2/d, the threshold of the least
    noisy mode; gamma = 0 always collapses. In the units used here, gain = gamma d/eps^2, the threshold is nu_1, for
    every momentum. The transition is continuous (simdino/collapse-amplitude).
    """,
    params=Staircase,
    predict=lambda p: np.full(len(p.momenta), p.lowest),
    measure=trained,
    claim=Crossover(of="learned", along="gain", level=0.5, falling=False, sharp=True, over="each"),
    controls=MISTAKES,
    examples=(Staircase(margin=0.1), Staircase(margin=0.1, eps=2.0, lowest=0.4)),
    draws=Draws(shapes=0),
)


def amplitude_floor(p: Onset) -> float:
    """the amplitude that a run leaves undecided: its last step over the slowest rate"""
    return TOLERANCE / float(settling_rates(p).min()) * np.sqrt(p.dim * p.inputs / p.c)


COLLAPSE_AMPLITUDE = Law(
    id="simdino/collapse-amplitude",
    source=Source(DERIVED),
    statement="""
    The transition is continuous: above its threshold the amplitude of a mode, the root of its second moment, grows like
    (gamma - gamma_i)^(1/2). (The second moment is exactly linear: it is gamma/nu_i - 1/c.)
    """,
    params=Onset,
    predict=lambda p: np.full(len(p.momenta), 0.5),
    measure=trained,
    claim=Rate(of="amplitude", along="excess", order=1.0, floor=amplitude_floor),
    controls={
        "second moment for amplitude": but(predict=lambda p: np.ones(len(p.momenta))),
        "weight half as large again": but(measure=partial(trained, weight=1.5)),
    },
    examples=(Onset(), Onset(eps=2.0, lowest=0.4)),
    draws=Draws(shapes=0),
)
