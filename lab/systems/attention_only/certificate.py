"""An executable rate theorem: for anyone's tokens and frames, layer by layer, whether the rate is guaranteed; and the
gain of anyone's weights before any simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lab.arrays import Array, namespace, to_numpy, truth
from lab.errors import InputError
from lab.models import white_box
from lab.systems.attention_only import dynamics, reduced
from lab.systems.attention_only.theory.energies import gain
from lab.systems.attention_only.theory.thresholded import growth

__all__ = ["Certificate", "Gain", "certify", "predict_gain"]

KINDS = {"thresholded": "constant", "indicator": "indicator", "hard": "hard", "soft": "soft"}


@dataclass(frozen=True)
class Certificate:
    """What the theorem guarantees for these tokens, and what was measured.

    Attributes
    ----------
    snr : array, shape (L + 1, K)
        Measured signal-to-noise ratio of every cluster, before and after each layer.
    signal_failures, foreign_failures : arrays, shape (L,)
        Shares of rows that break the events in each layer.
    events : array of bool, shape (L,)
        Whether the events hold in a layer: then the guarantee holds for that layer, whatever came before.
    guaranteed : (float, float)
        Least and largest factor of the ratio in a layer whose events hold; equal for constant thresholds.
    exact_layers : int
        Layers from the first on in which the events hold without a break.
    labels : array of int, shape (N,)
    orthogonality : float
        Largest entry of ``[U_1 ... U_K]^T [U_1 ... U_K] - I`` in absolute value.
    outside : float
        Share of the tokens' energy outside the frames: not touched by the layers, and not counted as noise.
    """

    snr: np.ndarray
    signal_failures: np.ndarray
    foreign_failures: np.ndarray
    events: np.ndarray
    guaranteed: tuple[float, float]
    exact_layers: int
    labels: np.ndarray
    orthogonality: float
    outside: float

    @property
    def ratio(self) -> np.ndarray:
        """Measured factor of the ratio in every layer and cluster (L, K)."""
        return self.snr[1:] / self.snr[:-1]

    @property
    def ends_at(self) -> int | None:
        """First layer (from 1) without a guarantee; None if there is none among those looked at."""
        return None if self.exact_layers == len(self.events) else self.exact_layers + 1

    def __str__(self) -> str:
        low, high = self.guaranteed
        factor = f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
        lines = [f"guaranteed factor of the signal-to-noise ratio, where the events hold: {factor}",
                 "layer  events  failing rows: own head, others      factor: least, largest cluster"]  # fmt: skip
        for i, held in enumerate(self.events):
            shares = f"{self.signal_failures[i]:8.2%} {self.foreign_failures[i]:8.2%}"
            span = f"{self.ratio[i].min():.6g}, {self.ratio[i].max():.6g}"
            lines.append(f"{i + 1:5d}  {'hold' if held else 'broken':6}  {shares:34}  {span}")
        end = f"the guarantee ends at layer {self.ends_at}" if self.ends_at else "no layer looked at breaks them"
        return "\n".join([*lines, end])


def certify(
    Z: Array, U: Array, tau: float, eta: float,
    phi: Literal["thresholded", "indicator", "hard", "soft"] = "thresholded", layers: int = 10, *, labels: Any = None,
    rescaled: bool = False, scale: float = 1.0, tolerance: float = 1e-6,
) -> Certificate:  # fmt: skip
    r"""Certify tokens for layers ``Z + eta MSSA(Z)`` of thresholded softmax attention.

    In every layer the events of attention_only/thresholded-rate are read off the weights; where they hold, the ratio of
    every cluster is multiplied by :math:`1 + \eta\tau` (other thresholds: `theory.growth`).

    Parameters
    ----------
    Z : array, shape (N, d)
        Tokens in rows; numpy, torch or jax.
    U : array, shape (K, d, p)
        Frames, mutually orthogonal with orthonormal columns.
    tau : float in (0, 1)
        Threshold of the softmax weights.
    eta : float, > 0
        Step.
    phi : "thresholded", "indicator", "hard" or "soft"
        ``tau 1{w > tau}``, ``1{w > tau}``, ``w 1{w > tau}``, ``(w - tau)_+``.
    layers : int, >= 1
    labels : array of int, shape (N,), optional
        Head of each token; by default the head in which it has most energy.
    rescaled : bool
        Divide by ``1 + eta tau`` after every layer: attention_only/norm-rescue.
    scale : float, > 0
        Factor of the scores (1 in the theorem, ``1/sqrt(p)`` in public code).
    tolerance : float
        How far the frames may be from orthonormal.

    Returns
    -------
    Certificate

    Raises
    ------
    InputError
        For wrong shapes or dtypes, non-finite tokens, frames that are not orthonormal (the theorem then says nothing),
        an empty head, or parameters outside their range.

    Examples
    --------
    >>> from lab.data.tokens import noisy_subspace_tokens
    >>> rng = np.random.default_rng(0)
    >>> data = noisy_subspace_tokens(rng, class_sizes=(16, 16), rank=48, delta=0.05, d=100)
    >>> found = certify(data.Z, data.frames, tau=0.6, eta=0.5, layers=3)
    >>> found.exact_layers, found.guaranteed, bool(np.allclose(found.ratio, 1.3))
    (3, (1.3, 1.3), True)
    """
    tau, eta = _number("tau", tau, 1.0), _number("eta", eta, math.inf)
    scale = _number("scale", scale, math.inf)
    if phi not in KINDS:
        raise InputError(f"phi={phi!r} must be one of {', '.join(KINDS)}; for other weights use predict_gain")
    if not isinstance(layers, int | np.integer) or layers < 1:
        raise InputError(f"layers={layers!r} must be an integer >= 1")
    if getattr(Z, "ndim", 0) != 2 or getattr(U, "ndim", 0) != 3:
        shapes = f"{getattr(Z, 'shape', type(Z).__name__)} and {getattr(U, 'shape', type(U).__name__)}"
        raise InputError(f"Z and U have shapes {shapes}; they must be arrays (N, d) and (K, d, p)")
    xp = namespace(Z, U)
    if truth(xp.all(xp.isfinite(U))) is False:
        raise InputError("U has an entry that is not finite; remove or replace it")
    K, off = U.shape[0], _orthogonality(U)
    if off > tolerance:
        raise InputError(
            f"U is {off:.2g} away from mutually orthogonal orthonormal frames (allowed {tolerance:g}); the theorem is "
            "about those: orthonormalise [U_1 ... U_K], which needs K p <= d"
        )
    white_box.mssa(Z[:1], U)  # checks tokens and frames against each other
    if truth(xp.all(xp.isfinite(Z))) is False:
        raise InputError("Z has an entry that is not finite; remove or replace it")
    W = white_box.head_coordinates(Z, U)
    found_labels, sizes, order = _clusters(W, labels, K)
    total = float(xp.sum(Z * Z))
    outside = max(0.0, 1 - float(xp.sum(W * W)) / total) if total > 0 else 0.0
    W = xp.take(W, xp.asarray(order), axis=1)
    kind: Any = KINDS[phi]
    rate = growth(eta, tau, kind)
    path, signal, foreign = [_ratio(W, sizes)], [], []
    for _ in range(layers):
        W, failed = dynamics.step(W, sizes, eta=eta, tau=tau, kind=kind, scale=scale)
        if rescaled:
            W = W / (1 + eta * tau)
        signal.append(float(failed.signal))
        foreign.append(float(failed.foreign))
        path.append(_ratio(W, sizes))
    events = (np.array(signal) == 0) & (np.array(foreign) == 0)
    exact = layers if events.all() else int(np.argmin(events))
    return Certificate(
        np.stack(path), np.array(signal), np.array(foreign), events, (float(rate[0]), float(rate[1])), exact,
        found_labels, off, outside,
    )  # fmt: skip


@dataclass(frozen=True)
class Gain:
    """Predicted gain of one layer with its standard error, and the energies behind it (relative to their start)."""

    value: float
    error: float
    signal: float
    foreign: float


def predict_gain(
    phi: Callable[[np.ndarray], np.ndarray] | Literal["softmax", "relu", "linear"], *, heads: int, per_class: int,
    rank: int, delta: float, eta: float, scale: float = 1.0, rows: int = 4000, seed: int = 0,
) -> Gain:  # fmt: skip
    r"""Gain of the signal-to-noise ratio in one layer ``Z + eta MSSA_phi(Z)`` for any weights, before any simulation.

    Rows of attention reduce to one dimension (attention_only/row-reduction): no tokens are drawn, and the rank costs
    nothing. ``gain = sqrt(E_signal/p / (E_foreign/(p delta²)))``, as a limit of many tokens (within 2 % for
    ``per_class * rank >= 1000``).

    Parameters
    ----------
    phi : function, or "softmax", "relu" (over the number of keys), "linear"
        From scores (..., N_query, N_key), numpy, to weights of that shape, query by query.
    heads, per_class, rank : int
        K, N_1, p.
    delta : float, > 0
        Standard deviation of the noise.
    eta : float, > 0
        Step.
    scale : float
        Factor of the scores.
    rows, seed : int
        Rows drawn for each of the two energies, and the seed of the draw.

    Raises
    ------
    InputError
        If `phi` changes the shape or gives weights that are not finite, or a parameter is outside its range.

    Examples
    --------
    >>> found = predict_gain("softmax", heads=3, per_class=100, rank=60, delta=0.03, eta=1.0)
    >>> bool(abs(found.value - 1.13) < 0.02)
    True
    """
    named = {"softmax": white_box.softmax, "relu": white_box.relu, "linear": white_box.linear}
    if isinstance(phi, str):
        if phi not in named:
            raise InputError(f"phi={phi!r} must be a function of the scores or one of {', '.join(named)}")
        weights: Callable[..., Any] = named[phi]
    elif callable(phi):
        weights = phi
    else:
        raise InputError(f"phi={phi!r} must be a function from scores (..., N_query, N_key) to weights")
    delta, eta = _number("delta", delta, math.inf), _number("eta", eta, math.inf)
    scale = _number("scale", scale, math.inf)
    (signal, one), (foreign, other) = reduced.row_energies(
        np.random.default_rng(seed), weights, heads=heads, per_class=per_class, rank=rank, delta=delta, eta=eta,
        scale=scale, rows=rows,
    )  # fmt: skip
    if not (math.isfinite(signal) and math.isfinite(foreign)):
        raise InputError("phi gave weights that are not finite, or so large that energies overflow; bound it")
    value = float(gain(signal, foreign, delta))
    error = 0.5 * value * math.hypot(one / signal, other / foreign)
    return Gain(value, error, signal / rank, foreign / (rank * delta**2))


def _number(name: str, value: Any, below: float) -> float:
    if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not 0 < value < below:
        rule = "be a positive finite number" if below == math.inf else f"lie strictly between 0 and {below:g}"
        raise InputError(f"{name}={value!r} must {rule}")
    return float(value)


def _orthogonality(U: Array) -> float:
    columns = np.moveaxis(to_numpy(U), 0, 1)
    columns = columns.reshape(columns.shape[0], -1)
    return float(np.max(np.abs(columns.T @ columns - np.eye(columns.shape[1]))))


def _clusters(W: Array, labels: Any, K: int) -> tuple[np.ndarray, tuple[int, ...], np.ndarray]:
    """Labels, sizes of the clusters, and the order that makes them contiguous."""
    n = W.shape[1]
    if labels is None:
        labels = np.argmax(np.sum(to_numpy(W) ** 2, axis=-1), axis=0)
    labels = np.asarray(to_numpy(labels) if hasattr(labels, "shape") else labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= K:
        raise InputError(f"labels must be {n} whole numbers from 0 to {K - 1}, one head for each token")
    sizes = tuple(int(c) for c in np.bincount(labels, minlength=K))
    if min(sizes) == 0:
        raise InputError(f"head {sizes.index(0)} has no token; give labels, or leave that frame out of U")
    return labels, sizes, np.argsort(labels, kind="stable")


def _ratio(W: Array, sizes: tuple[int, ...]) -> np.ndarray:
    own, foreign = (to_numpy(part) for part in dynamics.energies(W, sizes))
    with np.errstate(divide="ignore"):
        return np.sqrt(own / foreign)
