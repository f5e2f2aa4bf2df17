"""When will a trained mixture model memorise? Closed form, clustering without training, and training, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab import checks
from lab.errors import InputError
from lab.systems.memorization import dynamics, theory

__all__ = ["Curve", "Transition", "predict_transition"]


@dataclass(frozen=True, eq=False)
class Curve:
    """Share of copies among generated samples along the model size.

    Attributes
    ----------
    m : array, shape (S,)
        Model sizes per training point, M/N.
    copies : array, shape (S,) or (sets, S)
        Share of copies; one row per data set where it is measured.
    critical : float
        m at which half of the samples are copies (of the average curve); NaN if the curve does not cross 1/2.
    interval : (float, float) or None
        95 per cent interval of `critical` over data sets (bootstrap over whole data sets); None for a closed form, or
        a single data set.
    """

    m: np.ndarray
    copies: np.ndarray
    critical: float
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.critical:.3f}"
        return f"{self.critical:.3f} [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"


@dataclass(frozen=True, eq=False)
class Transition:
    """Three predictions of one memorisation transition; printed, their critical sizes.

    Attributes
    ----------
    closed_form, surrogate : Curve
    trained : Curve or None
        None unless trained.
    settled : float or None
        Share of trained models whose width had settled (else they look memorised at every size: take more steps).
    """

    closed_form: Curve
    surrogate: Curve
    trained: Curve | None = None
    settled: float | None = None

    def __str__(self) -> str:
        lines = [f"closed form {self.closed_form}", f"clustering  {self.surrogate}"]
        if self.trained is not None:
            lines.append(f"trained     {self.trained}, {self.settled:.0%} settled")
        return "\n".join(lines)


def predict_transition(
    d: int, K: int, N: int, *, v: float = 1.0, threshold: float = 1 / 9, shares: Sequence[float] | None = None,
    sets: int = 40, train: bool = False, seeds: int = 6, steps: int = 2000, seed: int = 0, **recipe: Any,
) -> Transition:  # fmt: skip
    r"""At which size, per training point, do generated samples become copies?

    For mixture models of M = m N means started from training points, on N points of K clusters (means on the sphere of
    radius sqrt d): the closed form :math:`e^{-(1-m)/m}P_c(d,N/K-1,u(m))`, Lloyd's clustering from the same points
    (no training, no formula), and, if asked for, training.

    Parameters
    ----------
    d, K, N : int
        Dimension, clusters, training points, N/K >= 4.
    v : float
        Variance of a cluster.
    threshold : float, in (0, 1)
        c of the copy criterion, on squared distances.
    shares : sequence of float, optional
        Model sizes per training point that are measured; by default some on both sides of the predicted one.
    sets : int
        Data sets of the clustering.
    train : bool
        Also train: seconds to minutes.
    seeds, steps : int
        Data sets that are trained on, and steps of training (a multiple of 250).
    seed : int
    **recipe
        More fields of `lab.systems.memorization.laws.transition.Training`: draws, rate, std, weight, samples.

    Returns
    -------
    Transition

    Raises
    ------
    OutOfDomain, InputError
        For the closed form if copies abound at every size (N/K too small), or training outside its domain.

    Notes
    -----
    The law memorization/transition claims the closed form within .03 of training for d >= 10, N/K >= 4, .5 <= v <= 2
    and thresholds from 1/36 to 1/4 (.05 there).

    Examples
    --------
    >>> found = predict_transition(30, 3, 50, sets=4)
    >>> round(found.closed_form.critical, 3), found.trained
    (0.791, None)
    >>> print(predict_transition(30, 3, 50, train=True))  # doctest: +SKIP
    closed form 0.791
    clustering  0.794 [0.790, 0.798]
    trained     0.801 [0.793, 0.812], 100% settled
    """
    if seeds < 1 or sets < 1:
        raise InputError(f"seeds={seeds}, sets={sets}: give at least one data set of each")
    critical = theory.critical_size(d, K, N, threshold=threshold, v=v)
    fine = np.linspace(max(0.02, 1.5 * K / N, critical - 0.4), 1, 121)
    closed = Curve(fine, theory.memorization_curve(fine, d, K, N, threshold=threshold, v=v), critical)
    ends = max(1.5 * K / N, critical - 0.15), min(1.0, critical + 0.15)
    chosen = np.linspace(*ends, 9) if shares is None else checks.fraction("shares", shares, open=False)
    sizes = sorted({round(m * N) for m in chosen.tolist()})
    if len(sizes) < 2 or sizes[0] < 1:
        raise InputError(f"shares={chosen.tolist()} are models of {sizes} means: give two or more sizes, each positive")
    surrogate = _measured(np.array(sizes) / N, _clustered(d, K, N, v, threshold, sizes, sets, seed))
    if not train:
        if recipe:
            raise InputError(f"{', '.join(recipe)}: fields of a training run; add train=True")
        return Transition(closed, surrogate)
    copies, settled = _trained(
        threshold, seeds, seed, d=d, K=K, N=N, v=v, shares=tuple(M / N for M in sizes), steps=steps, **recipe
    )
    return Transition(closed, surrogate, _measured(np.array(sizes) / N, copies), float(settled.mean()))


def _clustered(
    d: int, K: int, N: int, v: float, threshold: float, sizes: list[int], sets: int, seed: int
) -> np.ndarray:
    """Shares of copies (sets, sizes) among samples of the mixtures that Lloyd's iteration finds."""
    from lab.data.mixtures import gmm_sphere

    found = np.empty((sets, len(sizes)))
    for i, source in enumerate(np.random.SeedSequence(seed).spawn(sets)):
        rng = np.random.default_rng(source)
        x = gmm_sphere(rng, d, K, v, N=N).X
        found[i] = [dynamics.lloyd_copies(rng, x, M, threshold)[0] for M in sizes]
    return found


def _trained(threshold: float, seeds: int, seed: int, **fields: Any) -> tuple[np.ndarray, np.ndarray]:
    """Shares of copies, and whether widths have settled, both (seeds, sizes)."""
    import jax
    import jax.numpy as jnp

    from lab.streams import Stream
    from lab.systems.memorization.laws.transition import SETTLED, TURN, Training, training

    p = Training(**fields)
    words = Stream("predict_transition", p.canonical(), seed).words
    priors = dynamics.log_priors(p.sizes)
    m = np.asarray(p.sizes) / p.N

    def turn(replicate: Any, state: Any = None) -> Any:
        return training(p, Stream.bound(words, replicate), state)

    def watch(replicate: Any, state: Any) -> tuple[Any, Any]:
        model, x = dynamics.Model(*state["fit"][0]), state["x"]
        key = Stream.bound(words, replicate).jax("samples")
        made = dynamics.generate(model, key, jnp.asarray(priors, x.dtype), p.samples, dynamics.published_times())
        first, second = dynamics.nearest_squares(made, x)
        residual = dynamics.residual_variance(model, x, jnp.asarray(priors, x.dtype))
        settled = (1 - m) * jnp.abs(model.std**2 / residual - 1) < SETTLED
        return jnp.mean(first <= threshold * second, axis=1), settled

    with jax.enable_x64(False):  # as the law trains
        replicates = jnp.arange(seeds)
        state = jax.jit(jax.vmap(turn))(replicates)
        step = jax.jit(jax.vmap(turn))
        for _ in range(p.steps // TURN):
            state = step(replicates, state)
        copies, settled = jax.jit(jax.vmap(watch))(replicates, state)
        return np.asarray(copies, dtype=float), np.asarray(settled)


def _measured(m: np.ndarray, copies: np.ndarray) -> Curve:
    """A curve with the critical size of its average over data sets, and its interval."""
    critical = float(_crossing(m, copies.mean(0)))
    if len(copies) < 2:
        return Curve(m, copies, critical)
    picked = np.random.default_rng(len(copies)).integers(len(copies), size=(1000, len(copies)))
    again = np.array([_crossing(m, copies[rows].mean(0)) for rows in picked])
    if np.isnan(again).mean() > 0.025:  # too many resamples do not cross: no interval can be given
        return Curve(m, copies, critical, (float("nan"), float("nan")))
    low, high = np.nanquantile(again, [0.025, 0.975])
    return Curve(m, copies, critical, (float(low), float(high)))


def _crossing(m: np.ndarray, copies: np.ndarray) -> float:
    """Where a curve first rises through 1/2, linear between sizes; NaN if nowhere."""
    below = copies < 0.5
    rises = np.flatnonzero(below[:-1] & ~below[1:])
    if rises.size == 0:
        return float("nan")
    i = rises[0]
    return float(m[i] + (0.5 - copies[i]) * (m[i + 1] - m[i]) / (copies[i + 1] - copies[i]))
