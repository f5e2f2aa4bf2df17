"""A certificate for anyone's encoder and decoder: how far from an equilibrium of CTRL-MSP, and what is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.arrays import to_numpy
from lab.errors import InputError
from lab.models import closed_loops, linear_games
from lab.systems.ctrl.theory.landscape import gap_parts
from lab.systems.ctrl.theory.multiple_subspaces import rank_value, share
from lab.systems.ctrl.theory.overflow import direct_sum_bound, orthogonal_allocation

__all__ = ["ClassCertificate", "GameCertificate", "certify"]

SMALL = 0.01  # share of the leader's value, or of samples, below which a defect is not called one


@dataclass(frozen=True)
class ClassCertificate:
    """One class of a game.

    Attributes
    ----------
    name : str
    samples, rank : int
        n_j, and d_j: the rank of the samples, or the one given.
    energy : float
        ``||Z_j||²/n_j``; at most 1 in the game.
    spectrum : list of float
        Eigenvalues of ``Z_j^T Z_j/n_j``, descending, those above 1e-12 of the largest.
    best_rank, nearest_rank : int
        Number of equal directions at equilibrium, and at the nearest local maximum.
    isotropy, energy_defect : float
        Nats that the leader loses to an uneven or wrong number of directions, and to missing energy (negative: energy
        beyond n_j).
    follower : float
        Loop distance, in nats: what the follower loses.
    data, features : float
        Shares ||.(I - P)||/||.|| of samples and of features outside the span of what comes back; nan where zero.
    """

    name: str
    samples: int
    rank: int
    energy: float
    spectrum: list[float]
    best_rank: int
    nearest_rank: int
    isotropy: float
    energy_defect: float
    follower: float
    data: float
    features: float


@dataclass(frozen=True)
class GameCertificate:
    """Where an encoder and a decoder stand in CTRL-MSP; all values in nats.

    Attributes
    ----------
    reduction : float
        Delta R(Z), the leader's utility at a best response.
    value : float
        The leader's value; an upper bound on it where `attained` is False.
    attained : bool
        Whether the classes of data form a direct sum and their optimal ranks fit into d_z: then `value` is reached.
    orthogonality : float
        What overlap of the classes costs the leader, >= 0.
    nearest : float
        Value of the local maximum whose spectra are nearest to those of the classes.
    distance : float
        Distance to it: root mean square of the differences of singular values, for features of mean square 1.
    allocation : float
        Best value of mutually orthogonal classes in d_z dimensions: below `value` if d_z is too small.
    classes : list of ClassCertificate
    shape : (int, int, int)
        n, d_x, d_z.
    eps : float
    """

    reduction: float
    value: float
    attained: bool
    orthogonality: float
    nearest: float
    distance: float
    allocation: float
    classes: list[ClassCertificate]
    shape: tuple[int, int, int]
    eps: float

    @property
    def leader_gap(self) -> float:
        """``value - reduction``: the sum of the orthogonality, isotropy and energy defects."""
        return self.value - self.reduction

    @property
    def isotropy(self) -> float:
        """Lost to uneven spectra and wrong ranks, all classes together."""
        return sum(one.isotropy for one in self.classes)

    @property
    def energy(self) -> float:
        """Lost to missing energy, all classes together."""
        return sum(one.energy_defect for one in self.classes)

    @property
    def follower_gap(self) -> float:
        """Sum of the loop distances: the follower's utility falls short of its best, 0, by this much."""
        return sum(one.follower for one in self.classes)

    @property
    def defects(self) -> dict[str, float]:
        """What is wrong: the parts of the leader's gap and the follower's gap in nats."""
        return {"orthogonality": self.orthogonality, "isotropy": self.isotropy, "energy": self.energy,
                "follower": self.follower_gap}  # fmt: skip

    @property
    def main_defect(self) -> str:
        """Name of the largest of the `defects`, or "none" if all are below 1 % of the leader's value."""
        name, size = max(self.defects.items(), key=lambda item: item[1])
        return name if size > SMALL * self.value else "none"

    @property
    def is_equilibrium(self) -> bool:
        """Whether both gaps are below 1e-6 of the leader's value, and energies within 1e-6 of feasible."""
        feasible = all(one.energy <= 1 + 1e-6 for one in self.classes)
        return feasible and self.attained and max(self.leader_gap, self.follower_gap) <= 1e-6 * self.value

    @property
    def sentences(self) -> list[str]:
        """What it means, and what to do."""
        return list(_sentences(self))

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain Python."""
        return {
            "samples": self.shape[0], "d_x": self.shape[1], "d_z": self.shape[2], "eps": self.eps,
            "reduction": self.reduction, "value": self.value, "attained": self.attained,
            "leader_gap": self.leader_gap, "defects": self.defects, "main_defect": self.main_defect,
            "follower_gap": self.follower_gap, "equilibrium": self.is_equilibrium,
            "nearest": {"value": self.nearest, "distance": self.distance,
                        "ranks": [one.nearest_rank for one in self.classes]},
            "allocation": self.allocation, "classes": [vars(one) for one in self.classes], "sentences": self.sentences,
        }  # fmt: skip

    def __str__(self) -> str:
        percent = 100 * self.reduction / self.value
        lines = [f"Delta R = {self.reduction:.6g} of {self.value:.6g} nats ({percent:.1f} %)",
                 *(f"  {name:14} {size:10.4g}" for name, size in self.defects.items()), *self.sentences]  # fmt: skip
        return "\n".join(lines)


def certify(
    F: Any, G: Any, X: Any, labels: Any, *, eps: float, ranks: Sequence[int] | None = None, tolerance: float = 1e-9
) -> GameCertificate:
    r"""Certify a linear encoder and decoder as players of CTRL-MSP.

    The leader's gap is split exactly: :math:`V^*-\Delta R(Z)` is what overlap of the classes, uneven spectra or wrong
    ranks, and missing energy cost. The follower's gap is :math:`\sum_j\mathrm{dist}(Z_j,\hat Z_j)`.

    Parameters
    ----------
    F : array, shape (d_z, d_x)
        Encoder, ``Z = X F^T``; numpy, torch or jax.
    G : array, shape (d_x, d_z)
        Decoder.
    X : array, shape (n, d_x)
        Samples in rows, not centred.
    labels : array, shape (n,)
        Class of each sample: numbers or texts, at least two classes.
    eps : float, > 0
        Distortion (not its square; some public code calls eps what is eps² here).
    ranks : sequence of int, optional
        Dimensions d_j of the subspaces, in the order of the sorted labels; by default the numerical ranks of the
        samples. Give them for noisy data, whose samples have full rank.
    tolerance : float
        Singular values below this share of the largest one do not count to a rank.

    Returns
    -------
    GameCertificate

    Raises
    ------
    InputError
        For shapes that do not fit, entries that are not finite, a class without energy, or parameters out of range.

    References
    ----------
    .. [1] arXiv:2206.09120 (the game).

    Examples
    --------
    >>> X = np.kron(np.eye(2), np.array([[1.0], [-1.0]]))
    >>> found = certify(np.eye(2), np.eye(2), X, [0, 0, 1, 1], eps=0.5)
    >>> found.is_equilibrium, found.main_defect
    (True, 'none')
    >>> certify(np.array([[1.0, 0.8], [0.0, 0.6]]), np.eye(2), X, [0, 0, 1, 1], eps=0.5).main_defect
    'orthogonality'
    """
    X, F, G, groups, names = _read(F, G, X, labels, eps)
    sizes = [len(rows) for rows in groups]
    factors: list[np.ndarray] = [np.asarray(np.linalg.qr(rows, mode="r")) for rows in groups]
    singular = [np.linalg.svd(part, compute_uv=False) for part in factors]
    found = [int(np.sum(s > tolerance * s[0])) for s in singular]
    d = _ranks(ranks, found, sizes, names)
    moments = np.stack([part.T @ part / n for part, n in zip(factors, sizes, strict=True)])
    fractions, beta = np.array(sizes) / len(X), F.shape[0] / eps**2
    own = closed_loops.image(F, moments)
    spectra = np.linalg.eigvalsh(own)[:, ::-1]
    energies = np.maximum(np.sum(spectra, axis=1), 0.0)
    if np.min(energies) == 0:
        raise InputError(f"class {names[int(np.argmin(energies))]} has no energy left: F sends all its samples to zero")
    bound = direct_sum_bound(sizes, d, F.shape[0], eps=eps)
    parts = gap_parts(own, sizes, d, eps=eps)
    u = beta * fractions
    missing = share(u, fractions, d) - share(u * energies, fractions, d)
    entries, apart = _nearest(np.sqrt(np.maximum(spectra, 0.0)), d, u, fractions)
    data, features = (np.array(v) for v in zip(*(_residuals(part, F, G, k) for part, k in zip(factors, d, strict=True)),
                                               strict=True))  # fmt: skip
    loops = closed_loops.loop_distances(F, G, moments, beta)
    whole = np.linalg.svd(np.concatenate(factors), compute_uv=False)
    direct = int(np.sum(whole > tolerance * whole[0])) == sum(found) if ranks is None else sum(d) <= X.shape[1]
    classes = [
        ClassCertificate(
            names[j], sizes[j], d[j], float(energies[j]), spectra[j][spectra[j] > 1e-12 * spectra[j][0]].tolist(),
            int(bound.ranks[j]), int(entries[j]), float(parts.classes[j] - missing[j]), float(missing[j]),
            float(loops[j]), float(data[j]), float(features[j]),
        )
        for j in range(len(d))
    ]  # fmt: skip
    return GameCertificate(
        bound.value - parts.total, bound.value, direct and int(np.sum(bound.ranks)) <= F.shape[0],
        parts.orthogonality, float(np.sum(rank_value(u, fractions, entries))), float(np.sqrt(fractions @ apart)),
        orthogonal_allocation(sizes, d, F.shape[0], eps=eps).value, classes, (len(X), X.shape[1], F.shape[0]),
        float(eps),
    )  # fmt: skip


def _residuals(factor: np.ndarray, F: np.ndarray, G: np.ndarray, rank: int) -> tuple[float, float]:
    """Residuals of data and of features of a class, from rows with its second moment."""
    Z = factor @ F.T
    back = Z @ G.T
    pairs = ((factor, back), (Z, back @ F.T))
    data, features = (linear_games.subspace_residuals(a[None], b[None], [rank])[0] for a, b in pairs)
    return float(data), float(features)


def _nearest(values: np.ndarray, ranks: list[int], u: np.ndarray, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank of the local maximum nearest to each class, by singular values (K, d) of features over sqrt n_j, and the
    squared distance to it. Nearest in each class is nearest in the table, whose conditions are those of the classes."""
    chosen, apart = [], []
    for s, most, energy, g in zip(values, ranks, u, gamma, strict=True):
        allowed = [k for k in range(1, min(most, len(s)) + 1) if k == 1 or energy / k > math.sqrt(g)]
        gaps = [float(np.sum((s - np.where(np.arange(len(s)) < k, k**-0.5, 0.0)) ** 2)) for k in allowed]
        chosen.append(allowed[int(np.argmin(gaps))])
        apart.append(min(gaps))
    return np.array(chosen), np.array(apart)


def _sentences(c: GameCertificate):
    if c.is_equilibrium:
        yield "An equilibrium: neither player gains by moving."
    largest = max(one.energy for one in c.classes)
    if largest > 1 + 1e-6:
        heavy = ", ".join(one.name for one in c.classes if one.energy > 1 + 1e-6)
        yield f"Energies up to {largest:.3g} n_j (class {heavy}) are not allowed: project F, or defects are too small."
    if not c.attained:
        fits = sum(one.best_rank for one in c.classes) <= c.shape[2]
        why = "the classes of data are no direct sum" if fits else \
            f"d_z={c.shape[2]} is too small; orthogonal classes reach {c.allocation:.4g}"
        yield f"The leader's value {c.value:.4g} is an upper bound only: {why}."
    worst = max(c.classes, key=lambda one: one.isotropy)
    advice = {
        "orthogonality": "classes overlap: it has not converged, or a slow follower lets it live on the loop distance",
        "isotropy": f"spectra are uneven or of the wrong rank, most in class {worst.name}, {_directions(worst)}",
        "energy": "classes do not use the energy n_j that they are allowed: scale F up to the bound",
        "follower": "the decoder is no best response; X(FX)^+ would be one",
    }
    for name, size in sorted(c.defects.items(), key=lambda item: -item[1]):
        if size > SMALL * c.value:
            who = "The follower" if name == "follower" else "The leader"
            yield f"{who} loses {size:.3g} nats: {advice[name]}."
    lost = [one for one in c.classes if one.data > SMALL]
    if lost:
        share = max(one.data for one in lost)
        yield (f"Data do not come back: up to {share:.0%} of a class lies outside the span of its decoded samples. The "
               "game sees features alone, so this is no defect of it; the canonical decoder mends it.")  # fmt: skip


def _directions(one: ClassCertificate) -> str:
    if one.nearest_rank == one.best_rank:
        return f"which should have {one.best_rank} equal directions"
    return f"near a local maximum with {one.nearest_rank} equal directions, where {one.best_rank} are best: start anew"


# ---------------------------------------------------------------------- input


def _read(F: Any, G: Any, X: Any, labels: Any, eps: float):
    """(X, F, G, rows by class, names), checked."""
    if isinstance(eps, bool) or not isinstance(eps, int | float | np.number) or not 0 < eps < math.inf:
        raise InputError(f"eps={eps!r} must be a positive finite number: the distortion, not its square")
    arrays = {"F": F, "G": G, "X": X}
    for name, value in arrays.items():
        array = np.asarray(to_numpy(value))
        if array.ndim != 2 or array.dtype.kind not in "iuf":
            raise InputError(f"{name} has shape {array.shape}, dtype {array.dtype}; must be a real matrix")
        arrays[name] = array = array.astype(float)
        if not np.isfinite(array).all():
            raise InputError(f"{name} has an entry that is not finite; remove or replace it")
    F, G, X = arrays["F"], arrays["G"], arrays["X"]
    if X.shape[1] != F.shape[1] or G.shape != F.shape[::-1]:
        raise InputError(f"shapes X {X.shape}, F {F.shape}, G {G.shape} do not fit; they are (n, d_x), (d_z, d_x), "
                         "(d_x, d_z): samples are rows")  # fmt: skip
    tags = np.asarray(to_numpy(labels))
    if tags.shape != (len(X),):
        raise InputError(f"labels have shape {tags.shape} but there are {len(X)} samples; give one label for each")
    names, places = np.unique(tags, return_inverse=True)
    if len(names) < 2:
        raise InputError("the labels name one class; the game needs two or more")
    groups = [X[places == j] for j in range(len(names))]
    for name, rows in zip(names, groups, strict=True):
        if not rows.any():
            raise InputError(f"all samples of class {name} are zero; remove the class")
    return X, F, G, groups, [str(name) for name in names]


def _ranks(given: Sequence[int] | None, found: list[int], sizes: list[int], names: list[str]) -> list[int]:
    if given is None:
        return found
    ranks = list(given)
    if len(ranks) != len(sizes) or not all(isinstance(k, int | np.integer) and k >= 1 for k in ranks):
        raise InputError(f"ranks={given!r} must be {len(sizes)} positive whole numbers, for classes {', '.join(names)}")
    for k, most, name in zip(ranks, found, names, strict=True):
        if k > most:
            raise InputError(f"ranks={given!r}: the samples of class {name} span only {most} dimensions; lower {k}")
    return [int(k) for k in ranks]
