"""A statistical test of anyone's neural tangent kernel, or initialisation, against the exact law of finite width.

No width need be large and no reference implementation exists but the theorem: at a unit input the kernel of a bias-free
ReLU network has the mean 1 + nL/2 and the variance of `theory.kernel_moments`, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lab.claims.statistics import LEVEL, student_quantile
from lab.errors import InputError
from lab.systems.curves.theory.finite_width import kernel_moments

__all__ = ["KernelTest", "kernel_test"]

HEAVY = 0.2
"""Depth over width beyond which squares of kernels are too heavy-tailed for Student's interval at some thousand
draws."""


@dataclass(frozen=True)
class KernelTest:
    """Measured and exact moments of a kernel at a unit input.

    Attributes
    ----------
    mean, predicted_mean : float
    spread, predicted_spread : float
        Mean square distance from the exact mean, and the exact variance.
    mean_interval, spread_interval : (float, float)
        Where the exact values would have passed.
    networks : int
        Networks judged: of the last stage.
    likely : str
        A known convention whose mean fits a mean that does not pass; empty otherwise.
    """

    mean: float
    predicted_mean: float
    mean_interval: tuple[float, float]
    spread: float
    predicted_spread: float
    spread_interval: tuple[float, float]
    networks: int
    likely: str = ""

    @property
    def mean_passes(self) -> bool:
        """Whether the exact mean lies in its interval."""
        return self.mean_interval[0] <= self.predicted_mean <= self.mean_interval[1]

    @property
    def variance_passes(self) -> bool:
        """Whether the exact variance lies in its interval."""
        return self.spread_interval[0] <= self.predicted_spread <= self.spread_interval[1]

    @property
    def passes(self) -> bool:
        """Whether both do."""
        return self.mean_passes and self.variance_passes

    def __str__(self) -> str:
        rows = [f"kernel of {self.networks} networks at a unit input: {'passes' if self.passes else 'refuted'}"]
        for name, found, exact, (low, high), good in (
            ("mean", self.mean, self.predicted_mean, self.mean_interval, self.mean_passes),
            ("variance", self.spread, self.predicted_spread, self.spread_interval, self.variance_passes),
        ):
            verdict = "passes" if good else "refuted"
            rows.append(f"{name:9} exact {exact:.6g}, measured {found:.6g}, accepts [{low:.6g}, {high:.6g}]: {verdict}")
        if self.likely:
            rows.append(f"the mean is that of {self.likely}")
        return "\n".join(rows)


def kernel_test(
    apply: Callable[..., Any], width: int, depth: int, *, init: Callable[..., Any] | None = None, dimension: int = 3,
    parametrisation: Literal["standard", "ntk"] = "standard", networks: int = 4000, seed: int = 0,
) -> KernelTest:  # fmt: skip
    r"""Test an implementation of the kernel, or an initialisation, against exact mean and variance at finite width.

    The network is ``f = <v, a_L>``, ``a_l = relu(W_l a_{l-1})`` with L hidden layers of width n and no biases; entries
    of every W_l, the first included, are N(0, 2/n), those of v standard normal; the kernel is the squared norm of the
    gradient of f in all weights at a unit vector.

    Parameters
    ----------
    apply : function
        With `init`: ``apply(params, x)``, in JAX, the output at x (n_0,), a number or an array of one; the kernel is
        then computed here, by differentiation. Without: ``apply(rng, count)``, kernels (count,) of that many
        independent new networks, each at a unit input, from a numpy generator; any library.
    width, depth : int
        n and L, with L <= .2 n: the law holds beyond, but sample variances there see nothing of the tails.
    init : function, optional
        ``init(key)``: random parameters from a JAX key, any tree of arrays.
    dimension : int, >= 1
        n_0, of the input that is given to `apply(params, x)`; the law does not depend on it.
    parametrisation : "standard" or "ntk"
        "ntk": standard normal weights, with the factors sqrt(2/n) in the layers (in the first one too: for inputs of
        squared norm n_0 that is the usual sqrt(2/n_0)).
    networks : int, >= 100
    seed : int

    Returns
    -------
    KernelTest
        Refuted only if fresh networks repeat it. One stage refutes a correct kernel with probability 1e-3, up to .003
        where squares are skewed (measured at L = .2 n with 4000 networks); both do about once in 1e5.

    Raises
    ------
    InputError
        If sizes are outside their ranges, or kernels are not finite numbers of the right count.

    Examples
    --------
    >>> def one_layer(rng, count, width=16):
    ...     W, v = rng.standard_normal((2, count, width))
    ...     a = np.maximum(W, 0) * (2 / width) ** 0.5
    ...     return (a**2).sum(1) + ((v * (W > 0)) ** 2).sum(1)
    >>> kernel_test(one_layer, width=16, depth=1).passes
    True
    >>> print(kernel_test(lambda rng, count: 2 * one_layer(rng, count), width=16, depth=1).likely)
    a network with biases among its parameters
    """
    if parametrisation not in ("standard", "ntk"):
        raise InputError(f"parametrisation={parametrisation!r} must be 'standard' or 'ntk'")
    if networks != int(networks) or networks < 100:
        raise InputError(f"networks={networks!r} must be a whole number >= 100")
    hidden = 1.0 if parametrisation == "standard" else 2 / width
    mean, second = kernel_moments(width, depth, hidden=hidden)
    if depth > HEAVY * width:
        raise InputError(
            f"depth={depth} exceeds {HEAVY} width={HEAVY * width:g}: sample variances are blind there; test a wider or "
            "shallower network, the code under test is the same"
        )
    draw = apply if init is None else differentiated(apply, init, dimension)
    for stage in range(2):
        kernels = drawn(draw, np.random.default_rng([seed, stage]), int(networks))
        found = judged(kernels, mean, second - mean**2)
        if found.passes:
            return found
    return KernelTest(**{**vars(found), "likely": convention(found, width, depth, hidden, dimension)})


def judged(kernels: np.ndarray, mean: float, variance: float) -> KernelTest:
    """Moments with Student intervals, each at half of the level; the scatter of the mean is known exactly."""
    count, squares = len(kernels), (kernels - mean) ** 2
    quantile = student_quantile(count, LEVEL / 2)
    by_mean = quantile * max(math.sqrt(variance), float(kernels.std(ddof=1))) / math.sqrt(count)
    by_spread = quantile * float(squares.std(ddof=1)) / math.sqrt(count)
    centre, spread = float(kernels.mean()), float(squares.mean())
    return KernelTest(
        centre, mean, (centre - by_mean, centre + by_mean), spread, variance,
        (spread - by_spread, spread + by_spread), count,
    )  # fmt: skip


def drawn(apply: Callable[..., Any], rng: np.random.Generator, count: int) -> np.ndarray:
    """Kernels of new networks, checked."""
    kernels = np.asarray(apply(rng, count), dtype=float)
    if kernels.shape != (count,) or not np.isfinite(kernels).all():
        raise InputError(
            f"apply(rng, {count}) gave shape {kernels.shape}, {int((~np.isfinite(kernels)).sum())} entries not finite; "
            f"it must return {count} finite kernels, one of each network"
        )
    return kernels


def differentiated(apply: Callable[..., Any], init: Callable[..., Any], dimension: int) -> Callable[..., np.ndarray]:
    """Kernels of random networks of ``apply(params, x)`` at one unit vector, by differentiation in JAX."""
    import jax
    import jax.numpy as jnp

    x = np.full(dimension, 1 / math.sqrt(dimension))

    def one(key: Any) -> Any:
        slopes = jax.grad(lambda params: jnp.reshape(apply(params, jnp.asarray(x)), ()))(init(key))
        return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(slopes))

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), count)
        return np.asarray(jax.lax.map(one, keys, batch_size=min(count, 256)))

    return draw


def convention(found: KernelTest, width: int, depth: int, hidden: float, dimension: int) -> str:
    """Which usual change of the network has the measured mean, within its interval."""
    n, L = width, depth
    first = n / dimension  # factor of the squared features if the first layer is scaled by its input
    known = {
        "weights of variance 1/n": kernel_moments(n, L, gain=1.0, hidden=hidden)[0],
        f"a first layer of variance 2/{dimension}": first * (1 + hidden * (L - 1) * n / 2) + hidden * n / 2,
        "a network with biases among its parameters": 2 * kernel_moments(n, L, hidden=hidden)[0],
        "hidden weights alone": kernel_moments(n, L, hidden=hidden, readout=0.0)[0],
        "the NTK parametrisation": kernel_moments(n, L, hidden=2 / n)[0],
        "the standard parametrisation": kernel_moments(n, L)[0],
        "a read-out of variance 1/n": kernel_moments(n, L, hidden=hidden / n)[0],
    }
    low, high = found.mean_interval
    return next((name for name, mean in known.items() if low <= mean <= high), "")
