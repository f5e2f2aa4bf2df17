"""A certificate for anyone's features: where they stand in the landscape of rate reduction.

For features Z (rows) and class labels: rates between their floors and their exact maximum, the value of the regularised
objective against its global maximum, effective fractions, the nearest critical point, the largest curvature with an
escape direction, and thresholds of the multiplier and of the distortion for each class. Notation: `lab.systems.mcr2`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.errors import InputError, OutOfDomain
from lab.objectives import coding_rate
from lab.systems.mcr2 import theory
from lab.systems.mcr2.certificate.advice import sentences
from lab.systems.mcr2.certificate.curvature import Curvature, Landscape
from lab.systems.mcr2.certificate.features import Features, Normalise, read
from lab.systems.mcr2.certificate.nearest import Entry, nearest_entry, nearest_maximum
from lab.systems.mcr2.certificate.report import Certificate, ClassReport
from lab.systems.mcr2.theory.energies import energy_ceiling, energy_maximum, rank_loss_eps
from lab.systems.mcr2.theory.label_shuffling import shuffled_rate_reduction
from lab.systems.mcr2.theory.random_features import null_rate_reduction, null_rate_reduction_variance

__all__ = ["Certificate", "ClassReport", "Curvature", "Entry", "certify"]

SHUFFLES = 16
ANGLES_UP_TO = 40  # classes; beyond it pairwise principal angles are left out


def certify(
    Z: Any, labels: Any, *, eps: float = 0.5, lam: float | None = None, normalise: Normalise | None = None
) -> Certificate:
    r"""Certify features: rates between floor and maximum, nearest critical point, curvature, advice.

    .. math:: \Delta R(Z)=R(Z)-R_c(Z),\qquad F(Z)=\Delta R(Z)-\tfrac\lambda2\|Z\|_F^2

    Parameters
    ----------
    Z : array, shape (N, d)
        Features of NumPy, torch, JAX or nested lists; samples are rows, not centred.
    labels : array, shape (N,)
        Whole numbers or texts.
    eps : float, > 0
        Distortion (not its square), in the units of the features after normalisation. The default 0.5 suits rows of
        norm one: an error of half the length of a feature.
    lam : float, > 0, optional
        Multiplier of F; twice the ``lmb`` of codes that penalise ``lmb ||Z||²``. Without it the multiplier that
        matches the features best is read off them, :math:`\langle\nabla\Delta R,Z\rangle/\|Z\|^2`, which is the one
        whose gradient is smallest and exact at a critical point.
    normalise : "unit", "class" or "none", optional
        "unit": rows of norm one; "class": each class scaled to energy N_k, its shape kept; "none": as they are. By
        default "none" if `lam` is given, since then the scale is part of the answer, else "unit".

    Returns
    -------
    Certificate

    Raises
    ------
    InputError
        If features or labels make no sense; one sentence says what and how to mend it.

    Notes
    -----
    *Floor*: white noise of the same energy and any labels (unit rows: uniform on the sphere); beside it what shuffled
    labels give with the spectrum of these features. *Maximum*: over mutually orthogonal classes that keep the class
    energies ||Z_k||² of these features (the constrained problem of [1] at energies N_k for unit rows), with total rank
    at most d; *ceiling*: over all features of these energies. F is set against its exact global maximum, which has no
    constraint. Effective fractions are read from the eigenvalues of the whole, ``mu = 1 + alpha t``, as
    ``theta = (mu-1)(1-tau mu)/(mu-1+tau mu)``: 1 class alone in a direction reads as its own fraction.
    The largest curvature is a Rayleigh quotient, hence a lower bound, of a direction that is returned.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    References
    ----------
    .. [1] arXiv:2006.08558, Yu et al. 2020, Theorem 2.1. .. [2] arXiv:2406.01909, Wang et al. 2024.

    Examples
    --------
    >>> features = np.kron(np.eye(3), np.ones((4, 1)))  # three classes, each on its own axis
    >>> found = certify(features, np.repeat([0, 1, 2], 4))
    >>> found.status, found.entry.ranks.tolist(), round(found.position, 3)
    ('global maximum', [1, 1, 1], 1.0)
    """
    if lam is not None and not (isinstance(lam, int | float | np.number) and np.isfinite(lam) and lam > 0):
        raise InputError(f"lam={lam!r} must be a positive finite number; leave it out to read it off the features")
    way: Normalise = normalise or ("unit" if lam is None else "none")
    f = read(Z, labels, eps=eps, normalise=way)
    found = _rates(f)
    multiplier = float(lam) if lam is not None else _matched_multiplier(f)
    landscape = Landscape(f, multiplier)
    curvature, criticality, tau = landscape.curvature(), landscape.criticality(), multiplier / f.alpha
    best = theory.global_maximum(f.sizes, f.dim, eps=f.eps, lam=multiplier)
    overlap = _overlap(f)
    eigenvalues = f.whole[f.whole > 1e-12 * max(1.0, f.whole[0])]
    classes = _classes(f, landscape, best, found.pop("ranks"), overlap)
    certificate = Certificate(
        features=f, lam=multiplier, matched=lam is None, **found,
        value=found["reduction"] - 0.5 * multiplier * float(f.energies.sum()), best=best.value,
        criticality=criticality, curvature=curvature, escape_kind=_escape_kind(f, multiplier, criticality, curvature),
        entry=nearest_entry(f, tau, critical=criticality < 1e-1), local_maximum=nearest_maximum(f, tau),
        eigenvalues=eigenvalues, fractions=_fractions(eigenvalues, tau), overlap=overlap,
        angles=_angles(f, [one.rank for one in classes]), classes=classes, sentences=[],
    )  # fmt: skip
    certificate.sentences.extend(sentences(certificate))
    return certificate


def _rates(f: Features) -> dict[str, Any]:
    """Rates, floors and maxima; from singular values, so that small and large eps keep their digits."""
    x = f.x
    rate = 0.5 * float(np.sum(np.log1p(f.whole)))
    class_rate = 0.5 * float(x @ np.sum(np.log1p(f.u / x[:, None]), axis=1))
    noise: dict[str, Any] = {"variance": "unit sphere" if f.normalise == "unit" else float(np.mean(f.Z**2))}
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(f.sizes)), f.sizes)
    draws = [float(coding_rate.rate_reduction(f.Z, rng.permutation(labels), eps=f.eps)) for _ in range(SHUFFLES)]
    maximum, ranks = float("nan"), np.zeros(len(f.sizes), dtype=int)
    if np.sum(f.energies > 0) <= f.dim:
        optimum = energy_maximum(f.sizes, f.dim, f.energies, eps=f.eps)
        maximum, ranks = optimum.value, optimum.ranks
    return {
        "rate": rate, "class_rate": class_rate, "reduction": rate - class_rate,
        "shuffled": shuffled_rate_reduction(f.whole / f.alpha, f.sizes, f.dim, eps=f.eps),
        "shuffled_mean": float(np.mean(draws)), "shuffled_deviation": float(np.std(draws, ddof=1)),
        "null": null_rate_reduction(f.dim, f.sizes, eps=f.eps, **noise),
        "null_deviation": float(np.sqrt(null_rate_reduction_variance(f.dim, f.sizes, eps=f.eps, **noise))),
        "overlap_free": theory.orthogonal_upper_bound(list(f.u), x), "maximum": maximum,
        "ceiling": energy_ceiling(f.sizes, f.dim, f.energies, eps=f.eps), "ranks": ranks,
    }  # fmt: skip


def _matched_multiplier(f: Features) -> float:
    """The lambda of least gradient: half the growth of Delta R with the scale of Z, per unit of energy."""
    growth = float(np.sum(f.whole / (1 + f.whole)) - np.sum(f.u / (1 + f.u / f.x[:, None])))
    lam = f.alpha * growth / float(f.whole.sum())
    if not lam > 1e-12 * f.alpha:
        raise InputError(
            f"rate reduction does not grow with the scale of these features at eps={f.eps:g} (all classes have the "
            "same second moments, or all ranks are full and eps is tiny), so no multiplier matches them; give one with "
            "lam (--lam), or change eps"
        )
    return lam


def _classes(f: Features, landscape: Landscape, best: Any, ranks: np.ndarray, overlap: np.ndarray) -> list[ClassReport]:
    x, lam = f.x, landscape.lam
    tau = lam / f.alpha
    exists = theory.nonzero_branch_exists(x, tau)
    upper, lower = theory.u_plus(x, tau, where=exists), theory.u_minus(x, tau, where=exists)
    rank = np.where(exists, np.sum(f.u > np.where(exists, lower, np.inf)[:, None], axis=1), 0)
    losses = rank_loss_eps(f.sizes, f.dim, f.energies, ranks.tolist())
    gains = _drop_gains(f, lam)
    spinodal, maxwell = f.alpha * theory.spinodal(x), f.alpha * theory.maxwell(x)
    shares = _even_ranks(f.sizes, best.ranks)
    others = overlap - 2 * np.eye(len(x))
    close = np.argmax(others, axis=1)
    made = []
    for k, name in enumerate(f.names):
        u = f.u[k, : int(f.filled[k].sum())]
        made.append(ClassReport(
            name=name, samples=f.sizes[k], energy=float(f.energies[k] / f.sizes[k]), u=u.tolist(),
            u_plus=float(upper[k]), u_minus=float(lower[k]), rank=int(rank[k]),
            spread=float(u.sum() ** 2 / np.sum(u**2)) if u.any() else 0.0, best_rank=int(ranks[k]),
            rank_at_max=int(shares[k]), spinodal=float(spinodal[k]), maxwell=float(maxwell[k]),
            rank_loss_eps=float(losses[k]), drop_gain=float(gains[k]), closest=f.names[int(close[k])],
            overlap=float(overlap[k, close[k]]),
        ))  # fmt: skip
    return made


def _even_ranks(sizes: tuple[int, ...], ranks: np.ndarray) -> np.ndarray:
    """Ranks of the global maximum with ties broken evenly: among classes of one size any split is optimal."""
    even = np.zeros_like(ranks)
    for size in np.unique(sizes):
        group = np.flatnonzero(np.array(sizes) == size)
        share, rest = divmod(int(ranks[group].sum()), len(group))
        even[group] = share + (np.arange(len(group)) < rest)
    return even


def _drop_gains(f: Features, lam: float) -> np.ndarray:
    """F with the rows of one class at zero, minus F; one entry per class."""
    grams = f.alpha * (np.swapaxes(f.Y, 1, 2) @ f.Y)
    total, x = np.eye(f.dim) + grams.sum(axis=0), f.x
    fall = 0.5 * np.array([np.linalg.slogdet(total - gram)[1] for gram in grams]) - 0.5 * np.linalg.slogdet(total)[1]
    own = 0.5 * x * np.sum(np.log1p(f.u / x[:, None]), axis=1)
    return fall + own + 0.5 * lam * f.energies


def _overlap(f: Features) -> np.ndarray:
    """Cosines between class Gram matrices, shape (K, K); 0 where a class is zero."""
    grams = (np.swapaxes(f.Y, 1, 2) @ f.Y).reshape(len(f.sizes), -1)
    norms = np.linalg.norm(grams, axis=1)
    grams = grams / np.where(norms > 0, norms, 1)[:, None]
    return np.clip(grams @ grams.T, 0, 1)


def _angles(f: Features, ranks: list[int]) -> np.ndarray:
    """Smallest principal angle between the leading subspaces of two classes, in degrees."""
    K = len(ranks)
    angles = np.full((K, K), np.nan)
    if K > ANGLES_UP_TO:
        return angles
    bases = [f.Y[k, :r] / f.singular[k, :r, None] for k, r in enumerate(ranks)]
    for k in range(K):
        for j in range(k + 1, K):
            if ranks[k] and ranks[j]:
                cosine = np.linalg.svd(bases[k] @ bases[j].T, compute_uv=False)[0]
                angles[k, j] = angles[j, k] = np.degrees(np.arccos(min(1.0, float(cosine))))
    return angles


def _fractions(u: np.ndarray, tau: float) -> np.ndarray:
    found, inside = np.full(u.shape, np.nan), (1 + u) * tau < 1
    found[inside] = theory.effective_fraction(1 + u[inside], tau)
    return found


def _escape_kind(f: Features, lam: float, criticality: float, curvature: Curvature) -> str | None:
    """Kind of the steepest explicit escape direction, where the features are critical and small enough to read."""
    if not curvature.escapes or criticality > 1e-6 or f.Z.size > 4000:
        return None
    try:
        found = theory.escape_directions(f.Z, f.sizes, eps=f.eps, lam=lam)
    except OutOfDomain:
        return None
    # named only where that direction is indeed the steepest one
    return found[0].kind if found and abs(found[0].curvature / f.alpha - curvature.value) <= 1e-6 else None
