r"""How fast F relaxes: near a maximum, near the spinodal on both sides, and the saddle-node behind it.

With ``s = log(u/sqrt x)`` gradient flow of one singular direction, :math:`\dot u=4\alpha uh'(u;x,\tau)`, reads

.. math:: \dot s = 2\alpha\,[g(s)-\tau],\qquad g(s)=\frac{1-x}{1+x+2\sqrt x\cosh s},

which is even in s. Below the spinodal it rests at ``s = +-s_+`` (the branches), with opposite linear rates; above it
it lingers near 0 (`flow.ghost_passage_time`). Near the spinodal, with ``delta = tau - tau_c``,

.. math:: \dot s = -2\alpha\,(\delta + s^2/\kappa^2),\qquad \kappa^2=\frac{(1+r)^3}{r(1-r)},\quad r=\sqrt x,

the normal form of a saddle-node: `SaddleNode` says what follows from it alone, for any collapse of this kind.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.critical_points import hessian_eigenvalues
from lab.systems.mcr2.theory.derivatives import smoothness
from lab.systems.mcr2.theory.thresholds import spinodal

__all__ = [
    "SaddleNode",
    "ascent_contraction",
    "branch_gap",
    "linear_rate",
    "relaxation_rate",
    "saddle_node",
]

AIRY_ZERO = 2.338107410459767  # Ai(-2.338...) = 0


class SaddleNode(NamedTuple):
    r"""Normal form of two states that merge: :math:`\dot s=-(a\,\delta+b\,s^2)`, a, b > 0.

    For ``delta < 0`` the stable state is ``s = +sqrt(a|delta|/b)`` and the unstable one its negative; for ``delta > 0``
    there is none, and the flow passes slowly from s > 0 to s < 0. All methods take ``|delta|`` and are vectorised.

    Attributes
    ----------
    push : float
        a, speed per unit of the control parameter.
    bend : float
        b, per unit of time.

    Examples
    --------
    The product of passage time and relaxation rate at equal distances is universal:

    >>> node = SaddleNode(push=2.0, bend=0.5)
    >>> round(float(node.passage_time(0.01) * node.relaxation_rate(0.01)), 6)
    6.283185
    """

    push: float
    bend: float

    def gap(self, delta):
        r"""Distance in s of the two states below the transition: :math:`2\sqrt{a|\delta|/b}`."""
        return 2 * np.sqrt(self.push * domain.non_negative("delta", delta) / self.bend)

    def relaxation_rate(self, delta):
        r"""Linear rate of return to the stable state, of escape from the unstable one: :math:`2\sqrt{ab|\delta|}`."""
        return 2 * np.sqrt(self.push * self.bend * domain.non_negative("delta", delta))

    def passage_time(self, delta):
        r"""Time through the ghost above the transition: :math:`\pi/\sqrt{ab\,\delta}`."""
        return np.pi / np.sqrt(self.push * self.bend * domain.positive("delta", delta))

    def shift(self, time):
        r"""The delta whose passage takes `time`: :math:`\pi^2/(ab\,T^2)`; nearer ones look alive for so long."""
        return np.pi**2 / (self.push * self.bend * domain.positive("time", time) ** 2)

    def sweep_delay(self, rate):
        r"""How far past the transition the state is lost while delta grows at `rate` v: :math:`\Omega(v^2/ab)^{1/3}`.

        ``-Omega = -2.33811`` is the first zero of the Airy function, for ``s = A w'/w`` turns the swept normal form
        into ``w'' = -theta w``.
        """
        return AIRY_ZERO * np.cbrt(domain.positive("rate", rate) ** 2 / (self.push * self.bend))


def saddle_node(x, alpha=1.0) -> SaddleNode:
    r"""The saddle-node at the spinodal of a class of fraction x, in ``s = log(u/sqrt x)`` and ``delta = tau - tau_c``.

    .. math:: a = 2\alpha,\qquad b = \frac{2\alpha}{\kappa^2} = \frac{2\alpha\,r(1-r)}{(1+r)^3},\quad r=\sqrt x

    `alpha` = 1 gives times in units of 1/alpha. In u the gap of the branches is ``sqrt x`` times that in s.

    Examples
    --------
    >>> round(float(saddle_node(0.25).passage_time(1e-4)), 4)
    577.1474
    """
    x, alpha = _inside(x), domain.positive("alpha", alpha)
    r = np.sqrt(x)
    return SaddleNode((2 * alpha)[()], (2 * alpha * r * (1 - x) / (1 + r) ** 4)[()])  # (1-r)(1+r) = 1-x


def branch_gap(x, tau):
    r"""Distance of the two branches in reduced squared singular values.

    .. math:: u_+-u_- = \tfrac1\tau\sqrt{[(1-x)-\tau(1+x)]^2-4x\tau^2}
              \;\to\; 2\sqrt x\,\kappa\,|\delta|^{1/2}\quad(\tau\to\tau_c)

    Evaluated in factored form: no difference of nearly equal numbers except ``tau_c - tau`` itself.

    Raises
    ------
    OutOfDomain
        If tau is above the spinodal: there are no branches.

    Examples
    --------
    >>> round(float(branch_gap(0.25, 0.2)), 6)
    2.291288
    """
    x, tau = _inside(x), domain.multiplier(tau)
    critical = spinodal(x)
    rule = "exceeds the spinodal (1-sqrt x)/(1+sqrt x), no nonzero branch exists there; lower tau"
    domain.checked("tau", tau, lambda v: v <= critical, rule)
    r = np.sqrt(x)
    return (np.sqrt((1 + r) * (1 - x) * (critical - tau) * ((1 + r) - tau * (1 - x) / (1 + r))) / tau)[()]


def relaxation_rate(x, tau, alpha=1.0):
    r"""Rate at which a singular value returns to the upper branch, and at which it leaves the lower one.

    .. math:: \gamma = -4\alpha u_+h''(u_+) = 4\alpha u_-h''(u_-) = \frac{2\alpha\tau^2(u_+-u_-)}{1-x}
              \;\to\; \frac{4\alpha}{\kappa}|\delta|^{1/2}\quad(\tau\to\tau_c)

    Both are the same number because g is even in s. It is the eigenvalue of the Hessian of F with multiplicity
    r(r+1)/2 (`critical_points.hessian_eigenvalues`), and the smallest nonzero one close to the spinodal.

    Examples
    --------
    >>> round(float(relaxation_rate(0.25, 0.2)), 6)
    0.244404
    """
    gap = branch_gap(x, tau)
    x, tau = np.asarray(x, dtype=float), np.asarray(tau, dtype=float)
    return (2 * domain.positive("alpha", alpha) * tau**2 * gap / (1 - x))[()]


def linear_rate(class_sizes: Sequence[int], dim: int, ranks: Sequence[int], *, tau: float, alpha: float = 1.0) -> float:
    r"""Slowest rate at which F relaxes to a local maximum: the smallest nonzero ``|eigenvalue|`` of its Hessian there.

    The maximum has ``ranks[k]`` directions of class k on the upper branch, classes orthogonal. Gradient flow returns
    like ``exp(-g t)`` to its manifold (the zero eigenvalues are its tangent space), ascent of step eta like
    `ascent_contraction` per step. Close to the spinodal of a class, g is its `relaxation_rate`.

    Examples
    --------
    >>> round(linear_rate((3, 4), 4, (1, 1), tau=0.1), 6)
    0.1
    """
    values, _ = hessian_eigenvalues(class_sizes, dim, ranks, [0] * len(ranks), tau=tau, alpha=alpha)
    return float(np.min(np.abs(values[values != 0])))


def ascent_contraction(
    class_sizes: Sequence[int], dim: int, ranks: Sequence[int], *, tau: float, step: float, alpha: float = 1.0
) -> float:
    r"""Factor by which ``||grad F||`` shrinks per step of gradient ascent near a local maximum: :math:`1-\eta g`.

    `step` is eta; g is `linear_rate`. Every other direction shrinks at least as fast if ``eta (L + g) <= 2``, L the
    `smoothness`; implied by ``eta <= 1/L``.

    Raises
    ------
    OutOfDomain
        If the step is larger than that.
    """
    g = linear_rate(class_sizes, dim, ranks, tau=tau, alpha=alpha)
    bound = float(smoothness(alpha, tau * alpha))
    if float(domain.positive("step", step)) * (bound + g) > 2:
        raise OutOfDomain(
            f"step={step!r}: above 2/(L + g) = {2 / (bound + g):.6g} fast directions may contract more slowly than the "
            "slow one; lower step"
        )
    return 1 - float(step) * g


def _inside(x) -> np.ndarray:
    rule = "must lie in (0, 1); a class that is the whole never lives"
    return domain.checked("x", x, lambda v: (v > 0) & (v < 1), rule)
