r"""Arithmetic of one layer, exactly: token statistics against softmax attention.

N tokens of dimension d, K heads of rank p. Counted is every addition, multiplication, division, maximum, comparison and
selection of real numbers, one each; a matrix product has two per term, ``2 m n k``; exponentials are counted apart. The
counts are those of `lab.models.white_box`.
"""

from __future__ import annotations

from typing import Literal

from lab import checks
from lab.errors import nearest

__all__ = ["attention_flops", "attention_largest", "exponentials", "tssa_flops", "tssa_largest"]


def _sizes(tokens: int, dim: int, heads: int, rank: int) -> tuple[int, int, int, int]:
    names = ("tokens", "dim", "heads", "rank")
    n, d, k, p = (
        checks.integer(name, value, 1) for name, value in zip(names, (tokens, dim, heads, rank), strict=True)
    )
    return n, d, k, p


def tssa_flops(
    tokens: int, dim: int, heads: int, rank: int, *, membership: Literal["given", "energies", "published"] = "given"
) -> int:
    r"""Flops of token statistics self-attention: :math:`4NdKp + 4NKp + NK + 4Kp + K`, linear in N.

    Two projections (4 N d K p); weighted coordinates, their products with the coordinates, the sum over tokens, and the
    scaled output (4 N K p - K p); masses ((N - 1) K, and 2 K for the test against empty heads); five operations on
    each second moment.

    Parameters
    ----------
    tokens, dim, heads, rank : int
        N, d, K, p.
    membership : {"given", "energies", "published"}
        The softmax of head energies adds :math:`2NKp + 4NK - 2N`: squares and their sums (N K (2p - 1)), inverse
        temperature, maximum, difference, sum and quotient (5 N K - 2 N). The published layer also normalises over the
        tokens (2 N K p + K p more: sums, floor, quotients) and adds a guard to the masses (K less, as nothing is then
        tested); the bias of its output is not counted.

    Notes
    -----
    Derived for this laboratory, verified numerically; the cited paper states the order O(N p) per head.

    Examples
    --------
    >>> tssa_flops(64, 12, 4, 3), tssa_flops(128, 12, 4, 3)
    (40244, 80436)
    """
    n, d, k, p = _sizes(tokens, dim, heads, rank)
    extra = {"given": 0, "energies": 2 * n * k * p + 4 * n * k - 2 * n}
    extra["published"] = extra["energies"] + 2 * n * k * p + k * p - k
    if membership not in extra:
        raise nearest("membership", membership, extra)
    return 4 * n * d * k * p + 4 * n * k * p + n * k + 4 * k * p + k + extra[membership]


def attention_flops(tokens: int, dim: int, heads: int, rank: int) -> int:
    r"""Flops of softmax attention with one shared projection: :math:`4NdKp + 4N^2Kp + 5KN^2 - 2KN`, quadratic in N.

    Two projections; scores and their use (2 N² K p each); scale, maximum, difference, sum and quotient of the softmax.
    Three projections instead of a shared one would add ``4 N d K p``.

    Examples
    --------
    >>> attention_flops(64, 12, 4, 3)
    314880
    """
    n, d, k, p = _sizes(tokens, dim, heads, rank)
    return 4 * n * d * k * p + 4 * n * n * k * p + 5 * k * n * n - 2 * k * n


def exponentials(tokens: int, heads: int, *, attention: bool) -> int:
    """Exponentials of the softmax: ``K N²`` over keys (attention), ``N K`` over heads (membership)."""
    n, k = checks.integer("tokens", tokens, 1), checks.integer("heads", heads, 1)
    return k * n * n if attention else k * n


def tssa_largest(tokens: int, dim: int, heads: int, rank: int) -> int:
    """Elements of the largest array that token statistics self-attention makes: ``N max(d, K p)``, or a frame's d K p.

    What connects the tokens is smaller still: the K p second moments.
    """
    n, d, k, p = _sizes(tokens, dim, heads, rank)
    return max(n * d, n * k * p, d * k * p)


def attention_largest(tokens: int, dim: int, heads: int, rank: int) -> int:
    """Elements of the largest array that softmax attention makes: the ``K N²`` scores once N exceeds d and p."""
    n, d, k, p = _sizes(tokens, dim, heads, rank)
    return max(k * n * n, tssa_largest(n, d, k, p))
