r"""Rows reduced to one dimension: failure rates and mean energies by Monte Carlo over scores, without any token.

Given the norm of a query, its scores are independent Gaussians, exactly (`lab.systems.attention_only.theory.failures`);
the part of an update perpendicular to the query has a known mean square. So a row of attention needs one chi² and as
many normal numbers as there are keys, whatever the rank, and any function of the scores can be predicted before a
simulation. Each function returns a mean and its standard error. Derived for this laboratory, verified numerically; not
found in the cited papers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lab import checks
from lab.errors import InputError
from lab.systems.attention_only.theory.thresholded import log_odds

__all__ = ["foreign_failure", "row_energies", "signal_failure"]

CHUNK = 2**20  # scores held at a time


def signal_failure(
    rng: np.random.Generator, *, heads: int, per_class: int, rank: int, delta: float, tau: float, gain: Any = 1.0,
    rows: int = 4000,
) -> tuple[Any, Any]:  # fmt: skip
    """Rate of failing signal rows for ``tau >= 1/2``, and its standard error; arrays over `gain`.

    Parameters as in `lab.systems.attention_only.theory.signal_failure`; `rows` is the number of rows drawn, the same
    for all gains.
    """
    gains = _gains(gain)

    def fails(query: np.ndarray, own: np.ndarray, other: np.ndarray, g: float) -> np.ndarray:
        s = g**2 * query[:, None]
        rest = _log_sum(s * own, s * delta * other)
        return rest >= g**2 * query**2 - log_odds(tau)

    return _rates(rng, rows, heads, per_class, rank, (per_class - 1, (heads - 1) * per_class), 1.0, fails, gains, gain)


def foreign_failure(
    rng: np.random.Generator, *, heads: int, per_class: int, rank: int, delta: float, tau: float, gain: Any = 1.0,
    rows: int = 4000,
) -> tuple[Any, Any]:  # fmt: skip
    """Rate of foreign rows with a weight above tau, any tau in (0, 1), and its standard error; arguments as above."""
    gains = _gains(gain)

    def fails(query: np.ndarray, own: np.ndarray, other: np.ndarray, g: float) -> np.ndarray:
        one = query[:, None]
        scores = np.concatenate([g * one * own, delta * one * other, one**2], axis=1)
        return scores.max(1) - _log_sum(scores) > np.log(tau)

    counts = (per_class, (heads - 1) * per_class - 1)
    return _rates(rng, rows, heads, per_class, rank, counts, delta, fails, gains, gain)


def row_energies(
    rng: np.random.Generator, phi: Callable[[np.ndarray], np.ndarray], *, heads: int, per_class: int, rank: int,
    delta: float, eta: float, scale: float = 1.0, rows: int = 4000,
) -> tuple[tuple[float, float], tuple[float, float]]:  # fmt: skip
    r"""Mean energies after one layer ``Z + eta MSSA_phi(Z)``: (signal, foreign), each with its standard error.

    .. math:: E|z_+|^2 = E\Big[\big(\sqrt r + \eta\sum_m w_m y_m\big)^2
              + \eta^2 (p-1)\Big(\sum_A w_m^2 + \delta^2 \sum_B w_m^2\Big)\Big], \quad w = \phi(\sqrt r\, y),

    y the components of the keys along the query, ``sqrt r`` of the query itself, which comes last; A the other keys
    whose own head this is, B the rest.

    Parameters
    ----------
    phi : function
        From scores (..., N_query, N_key) to weights of that shape, query by query; it must not depend on the order of
        the keys.
    scale : float
        Factor of the scores.
    """
    found = []
    for size, counts in ((1.0, (per_class - 1, (heads - 1) * per_class)),
                         (delta, (per_class, (heads - 1) * per_class - 1))):  # fmt: skip
        values = []
        for query, own, other in _draws(rng, rows, rank, counts, size):
            y = np.concatenate([own, delta * other, query[:, None]], axis=1)
            scores = (scale * query[:, None] * y)[None]
            w = np.asarray(phi(scores))
            if w.shape != scores.shape:
                raise InputError(f"phi turned scores of shape {scores.shape} into {w.shape}; it must keep the shape")
            w = w[0]
            across = np.sum(w[:, : counts[0]] ** 2, axis=1) + delta**2 * np.sum(w[:, counts[0] : -1] ** 2, axis=1)
            values.append((query + eta * np.sum(w * y, axis=1)) ** 2 + eta**2 * (rank - 1) * across)
        all_values = np.concatenate(values)
        found.append((float(all_values.mean()), float(all_values.std(ddof=1) / np.sqrt(all_values.size))))
    return found[0], found[1]


def _gains(gain: Any) -> np.ndarray:
    return np.atleast_1d(checks.positive("gain", gain)).ravel()


def _draws(rng: np.random.Generator, rows: int, rank: int, counts: tuple[int, int], size: float):
    """Query norms and normal numbers of the two kinds of keys, in pieces."""
    done, width = 0, max(1, sum(counts) + 1)
    while done < rows:
        n = min(rows - done, max(1, CHUNK // width))
        query = size * np.sqrt(rng.chisquare(rank, n))
        yield query, rng.standard_normal((n, counts[0])), rng.standard_normal((n, counts[1]))
        done += n


def _rates(rng, rows, heads, per_class, rank, counts, size, fails, gains, gain) -> tuple[Any, Any]:
    for name, value in (("heads", heads), ("per_class", per_class), ("rank", rank), ("rows", rows)):
        checks.integer(name, value, 1)
    failed = np.zeros(gains.size)
    for draw in _draws(rng, rows, rank, counts, size):
        failed += [np.sum(fails(*draw, g)) for g in gains]
    rate = (failed / rows).reshape(np.shape(gain))
    error = np.sqrt((rate * (1 - rate) + 1 / rows) / rows)  # + 1/rows: a rate of 0 is not known exactly
    return rate[()], error[()]


def _log_sum(*parts: np.ndarray) -> np.ndarray:
    """Log of the sum of exponentials of each row, over all parts."""
    top = functools.reduce(np.maximum, [part.max(axis=1, initial=-np.inf) for part in parts])
    return top + np.log(sum(np.exp(part - top[:, None]).sum(axis=1) for part in parts))
