"""Features near subspaces: random mixtures, exact critical points of regularised rate reduction, and label-free noise.

Samples are rows, classes are contiguous blocks of rows: `Z` is (N, d), `Z_k` is (N_k, d). With an orthonormal basis
`U_k` (d, r) of its subspace and orthonormal sample coordinates `V_k` (N_k, r), a class is
`Z_k = V_k diag(values_k) U_k^T`; the papers write the transpose. `class_blocks` and `orthogonal_blocks` are the
deterministic part, for NumPy, torch and JAX (jit, vmap); the other functions draw the bases from a NumPy generator that
the caller passes. `haar_jax` is the twin of `haar` for traced programs.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from lab import streams
from lab.arrays import Array, namespace
from lab.errors import InputError

Roots = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]] | tuple[np.ndarray, np.ndarray]


class SubspaceMixture(NamedTuple):
    """Features `Z` (N, d), integer `labels` (N,) and the orthonormal basis (d, r_k) of each class."""

    Z: np.ndarray
    labels: np.ndarray
    bases: tuple[np.ndarray, ...]


def haar(rng: np.random.Generator, d: int, r: int | None = None) -> np.ndarray:
    """Uniformly (Haar) distributed orthonormal frame: `r` orthonormal columns in R^d, shape (d, r); r = d by default.

    References
    ----------
    .. [1] arXiv:math-ph/0609050, Mezzadri 2006: QR of a Gaussian matrix, with the signs of the diagonal of R removed.
    """
    return _orthonormal(rng.standard_normal(_frame_shape(d, r)))


def haar_jax(key: Any, d: int, r: int | None = None, *, dtype: Any = None) -> Array:
    """`haar` from a JAX `key`, to be jitted and vmapped; in `dtype`, by default the float of the JAX configuration.

    The same distribution as `haar`, not the same numbers.
    """

    return _orthonormal(streams.normal(key, _frame_shape(d, r), dtype=float if dtype is None else dtype))


def _frame_shape(d: int, r: int | None) -> tuple[int, int]:
    r = d if r is None else r
    if not 0 <= r <= d:
        raise InputError(f"r={r} orthonormal columns do not fit in R^d with d={d}; choose 0 <= r <= d")
    return d, r


def _orthonormal(gaussian: Array) -> Array:
    xp = namespace(gaussian)
    q, r = xp.linalg.qr(gaussian)
    diagonal = xp.linalg.diagonal(r)
    return q * xp.where(diagonal < 0, -xp.ones_like(diagonal), xp.ones_like(diagonal))[..., None, :]


def class_blocks(bases: Sequence[Array], sample_bases: Sequence[Array], values: Sequence[Array]) -> Array:
    r"""Features with given singular vectors and values in each class: :math:`Z_k = V_k\,\mathrm{diag}(s_k)\,U_k^\top`.

    Parameters
    ----------
    bases : sequence of array, shape (..., d, r_k)
        `U_k`, one per class; r_k may be 0.
    sample_bases : sequence of array, shape (..., N_k, r_k)
        `V_k`.
    values : sequence of array, shape (..., r_k)
        `s_k`; singular values where both bases are orthonormal.

    Returns
    -------
    array, shape (..., N, d)
        Classes in order, N = sum N_k. Leading axes broadcast within each class and must agree across classes.
    """
    xp = namespace(*bases, *sample_bases, *values)
    return xp.concat(
        [(V * s[..., None, :]) @ U.mT for U, V, s in zip(bases, sample_bases, values, strict=True)],
        axis=-2,
    )


def orthogonal_blocks(Q: Array, sample_bases: Sequence[Array], values: Sequence[Array]) -> Array:
    """`class_blocks` with mutually orthogonal classes: class k takes the next r_k columns of the orthogonal matrix `Q`.

    Parameters
    ----------
    Q : array, shape (..., d, m)
        Orthonormal columns, m >= sum r_k.
    sample_bases, values
        As in `class_blocks`; the r_k are read off `sample_bases`.

    Returns
    -------
    array, shape (..., N, d)

    Raises
    ------
    InputError
        If sum r_k > m.
    """
    ends = np.cumsum([V.shape[-1] for V in sample_bases]).tolist()
    if ends[-1] > Q.shape[-1]:
        raise InputError(f"sum of ranks {ends[-1]} exceeds the {Q.shape[-1]} columns of Q; lower the ranks or raise d")
    bases = [Q[..., start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return class_blocks(bases, sample_bases, values)


def subspace_mixture(
    rng: np.random.Generator,
    *,
    d: int,
    class_sizes: Sequence[int],
    ranks: Sequence[int],
    energy: float | Sequence[float] = 1.0,
    overlap: float = 0.0,
    noise: float = 0.0,
    normalise: Literal["none", "unit_norm", "class_energy"] = "none",
) -> SubspaceMixture:
    r"""Gaussian samples on K random subspaces, with isotropic noise: :math:`Z_k = A_k U_k^\top + \text{noise}`.

    Parameters
    ----------
    rng : numpy.random.Generator
    d : int
        Dimension of the features.
    class_sizes, ranks : sequence of int, > 0
        N_k and r_k; sum r_k <= d.
    energy : float or one per class, > 0
        Expected squared norm of a sample before noise and normalisation: the entries of A_k have variance energy / r_k.
    overlap : float
        Angle phi in radians, 0 <= phi <= pi/2. The subspaces are orthogonal at 0; otherwise every later class has the
        basis `cos(phi) U_k + sin(phi) U_1[:, :r_k]` (needs r_k <= r_1), so its principal angles to the first class are
        pi/2 - phi and those between two later classes have cosine sin(phi)^2 (on their common columns).
    noise : float, >= 0
        Standard deviation of the noise in each of the d coordinates.
    normalise : {"none", "unit_norm", "class_energy"}
        Last step: scale each row to norm one, or each class to |Z_k|_F^2 = N_k.

    Returns
    -------
    SubspaceMixture
        `Z` (N, d), `labels` (N,), `bases` (d, r_k each).

    Raises
    ------
    InputError
        If the subspaces do not fit or a parameter is outside its range.

    References
    ----------
    .. [1] arXiv:2006.08558, Yu et al. 2020 (columns there, rows here).
    """
    sizes, ranks = _positive_integers("class_sizes", class_sizes), _positive_integers("ranks", ranks)
    if len(sizes) != len(ranks):
        raise InputError(f"there are {len(sizes)} class_sizes but {len(ranks)} ranks; give one of each per class")
    if sum(ranks) > d:
        raise InputError(f"ranks {ranks} sum to {sum(ranks)} > d={d}; lower the ranks or raise d")
    if not 0 <= overlap <= math.pi / 2:
        raise InputError(f"overlap={overlap} must be an angle in [0, pi/2] radians")
    if overlap > 0 and max(ranks) > ranks[0]:
        raise InputError(f"ranks {ranks} must not exceed that of the first class when overlap > 0; reorder the classes")
    if not (math.isfinite(noise) and noise >= 0):
        raise InputError(f"noise={noise} must be finite and >= 0")
    energies = np.broadcast_to(np.asarray(energy, dtype=float), (len(sizes),))
    if not (np.isfinite(energies).all() and (energies > 0).all()):
        raise InputError(f"energy={energy} must be finite and > 0, one number or one per class")
    if normalise not in ("none", "unit_norm", "class_energy"):
        raise InputError(f"normalise={normalise!r} must be 'none', 'unit_norm' or 'class_energy'")

    frame = haar(rng, d, sum(ranks))
    bases = np.split(frame, np.cumsum(ranks)[:-1], axis=1)
    first = bases[0]
    bases = [first, *(math.cos(overlap) * U + math.sin(overlap) * first[:, : U.shape[1]] for U in bases[1:])]
    blocks = []
    for size, rank, scale, basis in zip(sizes, ranks, energies, bases, strict=True):
        block = rng.standard_normal((size, rank)) * math.sqrt(scale / rank) @ basis.T
        block = block + noise * rng.standard_normal((size, d))
        if normalise == "unit_norm":
            block = block / np.linalg.norm(block, axis=1, keepdims=True)
        elif normalise == "class_energy":
            block = block * (math.sqrt(size) / np.linalg.norm(block))
        blocks.append(block)
    return SubspaceMixture(np.concatenate(blocks), np.repeat(np.arange(len(sizes)), sizes), tuple(bases))


def orthogonal_critical_point(
    rng: np.random.Generator,
    *,
    d: int,
    class_sizes: Sequence[int],
    ranks: Sequence[tuple[int, int]],
    eps: float,
    lam: float,
    roots: Roots,
) -> np.ndarray:
    r"""Critical point of regularised rate reduction with mutually orthogonal classes, with random singular vectors.

    The squared singular values of class k are :math:`u / \alpha`, :math:`\alpha = d / (N\epsilon^2)`, with `u` one of
    the two roots of

    .. math:: \tau u^2 / x - \eta u + \tau = 0, \qquad \eta = (1/x - 1) - \tau (1/x + 1),

    where :math:`x = N_k / N` and :math:`\tau = \lambda / \alpha`. They are real and distinct for
    :math:`\tau < \tau_c(x) = (1 - \sqrt x) / (1 + \sqrt x)`.

    Parameters
    ----------
    rng : numpy.random.Generator
    d : int
        Dimension of the features.
    class_sizes : sequence of int, > 0
        N_k.
    ranks : sequence of (int, int)
        `(r_plus, r_minus)` per class: how many singular values sit on the larger and on the smaller root.
    eps, lam : float, > 0
        Distortion and weight of the penalty (lam / 2) |Z|_F^2.
    roots : callable or pair of arrays
        `(u_plus, u_minus)`, each of shape (K,) (entries of classes of rank 0 are not read), or a function that returns
        them from the fractions (an array) and tau. They are checked against the equation above.

    Returns
    -------
    array, shape (N, d)

    Raises
    ------
    InputError
        If r_plus + r_minus > min(N_k, d), sum r_k > d, tau >= tau_c(x_k) in a class of positive rank, or wrong roots.

    References
    ----------
    .. [1] arXiv:2406.01909, Wang et al. 2024, Theorem 1 (columns there, rows here).
    """
    sizes = _positive_integers("class_sizes", class_sizes)
    if len(ranks) != len(sizes) or not all(len(pair) == 2 and min(pair) >= 0 for pair in ranks):
        raise InputError(
            f"ranks={ranks} must be one pair (r_plus, r_minus) of integers >= 0 per class, {len(sizes)} here"
        )
    totals = [sum(pair) for pair in ranks]
    for k, (size, rank) in enumerate(zip(sizes, totals, strict=True)):
        if rank > min(size, d):
            raise InputError(f"class {k} has rank {rank} > min(N_k, d)={min(size, d)}; lower its ranks")
    if sum(totals) > d:
        raise InputError(
            f"ranks sum to {sum(totals)} > d={d}, so classes cannot be orthogonal; lower the ranks or raise d"
        )
    alpha = scale_of_critical_points(d, sizes, eps)
    u_plus, u_minus = reduced_values(np.asarray(sizes) / sum(sizes), lam / alpha, roots, needed=np.asarray(totals) > 0)
    values = [
        np.sqrt(np.repeat([u_plus[k], u_minus[k]], pair) / alpha) if sum(pair) else np.zeros(0)
        for k, pair in enumerate(ranks)
    ]
    Q = haar(rng, d, sum(totals))
    return orthogonal_blocks(Q, [haar(rng, size, rank) for size, rank in zip(sizes, totals, strict=True)], values)


def scale_of_critical_points(d: int, class_sizes: Sequence[int], eps: float) -> float:
    """`alpha = d / (N eps^2)`, checked: reduced values `u` are `alpha` times squared singular values."""
    if not (math.isfinite(eps) and eps > 0):
        raise InputError(f"eps={eps} must be finite and > 0")
    return d / (sum(class_sizes) * eps**2)


def reduced_values(x: np.ndarray, tau: float, roots: Roots, *, needed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two reduced critical values at each fraction `x` where `needed` (NaN elsewhere), checked to be roots.

    Parameters
    ----------
    x : array, shape (n,)
        Class fractions, or effective fractions of groups of overlapping classes.
    tau : float, > 0
        `lam / alpha`.
    roots
        As in `orthogonal_critical_point`.
    needed : boolean array, shape (n,)

    Returns
    -------
    u_plus, u_minus : array, shape (n,)
    """
    if not (math.isfinite(tau) and tau > 0):
        raise InputError(
            f"lam / alpha={tau} must be finite and > 0; without a penalty there are no critical points but 0"
        )
    for k in np.flatnonzero(needed):
        limit = (1 - math.sqrt(x[k])) / (1 + math.sqrt(x[k]))
        if tau >= limit:
            raise InputError(
                f"lam / alpha={tau:.6g} must be below tau_c={limit:.6g} at fraction x={x[k]:.6g} (number {k}); "
                "lower lam or give it rank 0"
            )
    pair = []
    expected = int(needed.sum()) if callable(roots) else len(x)
    for values in roots(x[needed], tau) if callable(roots) else roots:
        u = np.asarray(values, dtype=float)
        if u.shape != (expected,):
            raise InputError(
                f"roots gave an array of shape {u.shape} but there are {expected} fractions; give one root each"
            )
        u = u if callable(roots) else u[needed]
        terms = np.stack([tau * u**2 / x[needed], tau * (1 + (1 / x[needed] + 1) * u), -(1 / x[needed] - 1) * u])
        if not (np.abs(terms.sum(0)) <= 1e-9 * np.abs(terms).sum(0)).all() or not (u > 0).all():
            raise InputError(
                f"roots gave u={u} at x={x[needed]}, tau={tau:.6g}, but they must be positive and solve "
                "tau u^2/x - eta u + tau = 0; check the arguments of roots (x, tau) and its branch"
            )
        full = np.full(x.shape, np.nan)
        full[needed] = u
        pair.append(full)
    u_plus, u_minus = pair
    if not (u_plus[needed] >= u_minus[needed]).all():
        raise InputError("roots must return (u_plus, u_minus) with u_plus >= u_minus; swap them")
    return u_plus, u_minus


def null_features(
    rng: np.random.Generator, *, count: int, d: int, kind: Literal["gaussian", "sphere"] = "gaussian"
) -> np.ndarray:
    """Features that know nothing of any label: standard normal rows, or rows uniform on the unit sphere.

    Parameters
    ----------
    rng : numpy.random.Generator
    count, d : int, > 0
        Number and dimension of the samples.
    kind : {"gaussian", "sphere"}
        Variance 1 per coordinate, or norm 1 per row (variance 1/d).

    Returns
    -------
    array, shape (count, d)

    Raises
    ------
    InputError
        If `kind` is another word or a size is not positive.
    """
    _positive_integers("(count, d)", (count, d))
    if kind not in ("gaussian", "sphere"):
        raise InputError(f"kind={kind!r} must be 'gaussian' or 'sphere'")
    Z = rng.standard_normal((count, d))
    return Z if kind == "gaussian" else Z / np.linalg.norm(Z, axis=1, keepdims=True)


def _positive_integers(name: str, values: Sequence[int]) -> list[int]:
    if not len(values) or not all(isinstance(value, int | np.integer) and value > 0 for value in values):
        raise InputError(f"{name}={tuple(values)} must be integers > 0, at least one")
    return [int(value) for value in values]
