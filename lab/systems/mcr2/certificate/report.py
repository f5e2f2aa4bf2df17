"""What a certificate says: numbers for programs, and the same for people as sentences to act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.systems.mcr2.certificate.curvature import Curvature
from lab.systems.mcr2.certificate.features import Features
from lab.systems.mcr2.certificate.nearest import Entry

__all__ = ["Certificate", "ClassReport"]

CRITICAL = 1e-6  # gradient over its parts up to which features count as critical


@dataclass(frozen=True)
class ClassReport:
    """One class.

    Attributes
    ----------
    name : str
    samples : int
    energy : float
        ||Z_k||_F² over its number of samples.
    u : list of float
        Reduced squared singular values alpha sigma², descending.
    u_plus, u_minus : float
        Branches of the class at lambda; NaN beyond its spinodal.
    rank : int
        Directions above the separatrix u_minus: those that ascent of F would keep; 0 beyond the spinodal.
    spread : float
        Participation ratio ``(sum u)²/sum u²``: how many equal directions the spectrum amounts to.
    best_rank : int
        Rank at the largest Delta R of orthogonal classes with these energies; 0 if classes outnumber dimensions.
    rank_at_max : int
        Rank at the global maximum of F.
    spinodal, maxwell : float
        lambda_c, beyond which the class collapses, and lambda_*, beyond which it is worth nothing.
    rank_loss_eps : float
        Distortion beyond which fewer than `best_rank` directions are better; infinite for rank 1.
    drop_gain : float
        Nats by which F rises (falls, if negative) when the rows of the class are set to zero.
    closest : str
        Class that it overlaps with most.
    overlap : float
        With that class: cosine between the Gram matrices, 0 orthogonal, 1 proportional.
    """

    name: str
    samples: int
    energy: float
    u: list[float]
    u_plus: float
    u_minus: float
    rank: int
    spread: float
    best_rank: int
    rank_at_max: int
    spinodal: float
    maxwell: float
    rank_loss_eps: float
    drop_gain: float
    closest: str
    overlap: float


@dataclass(frozen=True, eq=False)
class Certificate:
    """Where features stand in the landscape of rate reduction; made by `certify`.

    Attributes
    ----------
    features : Features
        As certified: rows sorted by class and normalised.
    lam : float
        Multiplier of F; `matched` says that it was read off the features.
    matched : bool
    rate, class_rate, reduction : float
        R, R_c and Delta R, in nats.
    shuffled : float
        Delta R to expect with shuffled labels (closed form, from the spectrum of the features).
    shuffled_mean, shuffled_deviation : float
        The same measured on some shuffles.
    null, null_deviation : float
        Delta R of white noise of the same energy and its standard deviation.
    overlap_free : float
        Delta R if the classes, each with its own spectrum, were orthogonal.
    maximum : float
        Largest Delta R of orthogonal classes with these energies; NaN if classes outnumber dimensions.
    ceiling : float
        Bound on Delta R of any features with these energies.
    value, best : float
        F and its exact maximum, in nats.
    criticality : float
        Norm of the gradient of F over the larger one of its two parts.
    curvature : Curvature
    escape_kind : str or None
        Kind of the steepest explicit escape direction at a critical point.
    entry, local_maximum : Entry
        Nearest named critical point, nearest local maximum.
    eigenvalues, fractions : array
        Reduced eigenvalues alpha t_j of all rows, and the effective fractions theta_j read from them (NaN where no
        critical point has such an eigenvalue).
    overlap : array, shape (K, K)
        Cosines between the Gram matrices of the classes.
    angles : array, shape (K, K)
        Smallest principal angle between class subspaces at their ranks, in degrees; NaN without rank.
    classes : list of ClassReport
    sentences : list of str
        What to do about it.
    """

    features: Features
    lam: float
    matched: bool
    rate: float
    class_rate: float
    reduction: float
    shuffled: float
    shuffled_mean: float
    shuffled_deviation: float
    null: float
    null_deviation: float
    overlap_free: float
    maximum: float
    ceiling: float
    value: float
    best: float
    criticality: float
    curvature: Curvature
    escape_kind: str | None
    entry: Entry
    local_maximum: Entry
    eigenvalues: np.ndarray
    fractions: np.ndarray
    overlap: np.ndarray
    angles: np.ndarray
    classes: list[ClassReport]
    sentences: list[str]

    @property
    def tau(self) -> float:
        """lambda/alpha."""
        return self.lam / self.features.alpha

    @property
    def status(self) -> str:
        """"not critical", "saddle", "local maximum" or "global maximum" of F."""
        if self.criticality > CRITICAL:
            return "not critical"
        if self.curvature.escapes:
            return "saddle"
        return "global maximum" if self.value >= self.best - 1e-8 * max(1.0, abs(self.best)) else "local maximum"

    @property
    def top(self) -> float:
        """The maximum of Delta R that is attained; the ceiling if classes outnumber dimensions."""
        return self.maximum if np.isfinite(self.maximum) else self.ceiling

    @property
    def position(self) -> float:
        """Where Delta R lies between the null floor (0) and the maximum (1)."""
        return (self.reduction - self.null) / (self.top - self.null) if self.top > self.null else float("nan")

    def to_json(self) -> dict[str, Any]:
        """All numbers as a dictionary of plain values; arrays (N, d) are left out."""
        f, c = self.features, self.curvature
        names = ("reduction", "rate", "class_rate", "null", "null_deviation", "shuffled", "shuffled_mean",
                 "shuffled_deviation", "overlap_free", "maximum", "ceiling", "position")  # fmt: skip
        return {
            "samples": f.count, "dim": f.dim, "eps": f.eps, "normalise": f.normalise, "alpha": f.alpha,
            "lam": self.lam, "lam_matched": self.matched, "tau": self.tau, "status": self.status,
            "rates": {name: float(getattr(self, name)) for name in names},
            "objective": {"value": self.value, "maximum": self.best, "criticality": self.criticality},
            "curvature": {"largest": c.value, "residual": c.residual, "method": c.method, "index": c.index,
                          "escape_kind": self.escape_kind, "escape_gain": c.gain, "escape_step": c.step},
            "nearest": self._entry(self.entry), "nearest_maximum": self._entry(self.local_maximum),
            "eigenvalues": self.eigenvalues.tolist(), "effective_fractions": self.fractions.tolist(),
            "overlap": self.overlap.tolist(), "smallest_angle_degrees": self.angles.tolist(),
            "classes": [dict(vars(one)) for one in self.classes], "sentences": list(self.sentences),
        }  # fmt: skip

    def _entry(self, entry: Entry) -> dict[str, Any]:
        names = self.features.names
        return {
            "kind": entry.kind, "value": entry.value, "index": entry.index, "distance": entry.distance,
            "value_difference": self.value - entry.value, "ranks": entry.ranks.tolist(),
            "parts": [{"classes": [names[k] for k in held], "branch": "+" if sign > 0 else "-", "theta": theta, "u": u,
                       "dimensions": m} for held, sign, theta, u, m in entry.parts],
        }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(self.sentences)
