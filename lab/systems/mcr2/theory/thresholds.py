r"""One singular direction of the regularised objective: its value, its two branches, and where they end.

For mutually orthogonal classes the objective splits into a sum over singular directions. A direction of a class of
fraction ``x`` with reduced squared singular value ``u = alpha sigma²`` contributes

.. math:: h(u; x, \tau) = \tfrac12\,[\log(1+u) - x\log(1+u/x) - \tau u] = \tfrac12\,[f(u; x) - \tau u].

Everything is vectorised: arguments broadcast, scalars return numpy scalars. The formulas below are rearranged so
that no step subtracts nearly equal numbers, for ``x`` near 0 and 1 and for ``tau`` near 0 (near the spinodal the
square root is intrinsically ill-conditioned: relative error about ``1e-16 / sqrt(1 - tau/tau_c)``).
"""

from __future__ import annotations

import numpy as np

from lab.systems.mcr2.theory import domain

__all__ = [
    "direction_curvature",
    "direction_slope",
    "direction_value",
    "maxwell",
    "maxwell_point",
    "merge_point",
    "nonzero_branch_exists",
    "rate_gain",
    "spinodal",
    "u_minus",
    "u_plus",
]


def _log_series(w, terms: int):
    """(log(1+w) - w)/w² near 0, by its Taylor series."""
    total = np.zeros_like(w)
    for k in range(terms, 1, -1):
        total = total * -w + (-1.0 / k)
    return total


def _log1p_minus(w):
    """log(1+w) - w for w > -1, to full relative precision."""
    small = np.abs(w) < 0.3  # 0.3^33 < 2e-17: the series is exact in float64 there
    series = _log_series(np.where(small, w, 0.0), 34)
    return np.where(small, w * w * series, np.log1p(np.where(small, 1.0, w)) - w)


def _concavity(v):
    """g(v) = log(1+v) - v/(1+v) >= 0 for v >= 0, to full relative precision (v²/2 near 0)."""
    small = v < 0.4
    w = np.where(small, v, 0.0)
    series = -_log1p_minus(-w / (1 + w))  # log(1+v) = -log(1-w) with w = v/(1+v)
    return np.where(small, series, np.log1p(v) - v / (1 + v))


def _tilt(u, x):
    """q with (1 + u/x) = (1 + u)(1 + q): what a class of fraction x adds to the whole."""
    return u / (1 + u) * ((1 - x) / x)


def rate_gain(u, x):
    r"""What one singular direction adds to the rate reduction, twice: :math:`f(u;x)=\log(1+u)-x\log(1+u/x)`.

    Parameters
    ----------
    u : array_like, >= 0
        Reduced squared singular value, alpha sigma² (dimensionless).
    x : array_like, in (0, 1]
        Class fraction N_k/N.

    Returns
    -------
    array
        Nats, >= 0, increasing in u.

    Notes
    -----
    Evaluated as ``(1-x) g(u) + x [q - log(1+q)]`` with ``g(v) = log(1+v) - v/(1+v)`` and
    ``q = u(1-x)/(x(1+u))``: both terms are non-negative, so the relative error stays at rounding level for all
    u and x, where the defining difference loses all digits for ``u << x`` or ``x`` near 1.

    Examples
    --------
    >>> round(float(rate_gain(1.0, 0.5)), 6)
    0.143841
    """
    u, x = domain.non_negative("u", u), domain.fraction(x)
    return _gain(u, x)


def _gain(u, x):
    return ((1 - x) * _concavity(u) - x * _log1p_minus(_tilt(u, x)))[()]


def _gain_slope(u, x):
    return (u / (x + u) * ((1 - x) / (1 + u)))[()]  # in this order nothing overflows for large u


def direction_value(u, x, tau):
    r"""Contribution of one singular direction to F: :math:`h=\tfrac12[\log(1+u)-x\log(1+u/x)-\tau u]`, in nats.

    `tau` = lambda/alpha; `u` >= 0 and `x` in (0, 1] as in `rate_gain`. On mutually orthogonal classes F is the sum
    of h over all singular directions.
    """
    u, x, tau = domain.non_negative("u", u), domain.fraction(x), domain.multiplier(tau)
    return 0.5 * (_gain(u, x) - tau * u)


def direction_slope(u, x, tau):
    r"""Slope in u: :math:`h'=\tfrac12[1/(1+u)-1/(1+u/x)-\tau]`; zero on the branches `u_plus`, `u_minus`."""
    u, x, tau = domain.non_negative("u", u), domain.fraction(x), domain.multiplier(tau)
    return 0.5 * (_gain_slope(u, x) - tau)


def direction_curvature(u, x):
    r"""Second derivative in u: :math:`h''=\tfrac12[x^{-1}(1+u/x)^{-2}-(1+u)^{-2}]`; it does not depend on tau.

    Positive below the merge point sqrt(x), negative above it.
    """
    u, x = domain.non_negative("u", u), domain.fraction(x)
    root = np.sqrt(x)
    return (0.5 * ((1 - x) / (1 + u) / (x + u)) * ((root - u) / (1 + u)) * ((root + u) / (x + u)))[()]


def spinodal(x):
    r"""Largest reduced multiplier with nonzero orthogonal critical points: :math:`\tau_c=(1-\sqrt x)/(1+\sqrt x)`.

    In the units of lambda it is ``alpha * spinodal(x)``. A saddle-node: there both branches merge at `merge_point`
    and beyond it the class collapses to zero, discontinuously. It is not where the collapsed state becomes
    optimal, which happens earlier, at `maxwell`.

    References
    ----------
    .. [1] arXiv:2406.01909, Theorem 1: right end of the interval for lambda (there for the largest class).

    Examples
    --------
    >>> round(float(spinodal(0.25)), 6)
    0.333333
    """
    x = domain.fraction(x)
    return ((1 - x) / (1 + np.sqrt(x)) ** 2)[()]  # (1-r)/(1+r) without cancelling 1-r


def merge_point(x):
    r"""Reduced squared singular value :math:`u=\sqrt x` where both branches merge, at tau = `spinodal`."""
    return np.sqrt(domain.fraction(x))[()]


def nonzero_branch_exists(x, tau):
    """Whether tau <= tau_c(x), elementwise: the mask to pass as `where` to `u_plus` and `u_minus`.

    At exactly ``tau == spinodal(x)`` the two branches coincide and the mask is True.
    """
    return domain.multiplier(tau) <= spinodal(x)


def u_plus(x, tau, *, where=True):
    r"""Upper branch of critical reduced squared singular values: the local maximum of h.

    .. math:: \tau u^2/x - \eta u + \tau = 0,\qquad \eta=(1/x-1)-\tau(1/x+1).

    Parameters
    ----------
    x : array_like, in (0, 1)
        Class fraction, or effective fraction theta of a group of overlapping classes.
    tau : array_like, in (0, spinodal(x)]
        lambda/alpha.
    where : array_like of bool, optional
        Entries to evaluate, as for a numpy ufunc; the others come back as NaN and may lie beyond the spinodal.
        ``where=nonzero_branch_exists(x, tau)`` evaluates exactly the entries that have a branch.

    Returns
    -------
    array
        u in [sqrt(x), (1-x)/tau); the squared singular value is u/alpha.

    Raises
    ------
    OutOfDomain
        If a selected entry has no nonzero critical point (tau above the spinodal).

    Notes
    -----
    Discriminant in the factored form ``(1+r)²(tau_c - tau)(1-r)[(1+r) - tau(1-r)]``, ``r = sqrt(x)``.

    References
    ----------
    .. [1] arXiv:2406.01909, Theorem 1 (in the unreduced variable sigma² = u/alpha).

    Examples
    --------
    >>> round(float(u_plus(0.5, 0.1)), 6)
    3.350781
    """
    where = np.asarray(where, dtype=bool)
    x, tau = domain.fraction(x), domain.multiplier(tau)
    critical = spinodal(x)
    rule = "exceeds the spinodal (1-sqrt x)/(1+sqrt x), no nonzero critical point exists there; " \
        "lower tau or pass where=nonzero_branch_exists(x, tau)"
    domain.checked("tau", tau, lambda v: v <= critical, rule, where)
    root = np.sqrt(x)
    gap = np.where(where, critical - tau, 0.0)  # masked entries get a harmless number, then NaN
    discriminant = (1 + root) * (1 - x) * gap * ((1 + root) - np.where(where, tau, 0.0) * (1 - x) / (1 + root))
    upper = ((1 - x) - tau * (1 + x) + np.sqrt(discriminant)) / (2 * tau)
    return np.where(where, upper, np.nan)[()]


def u_minus(x, tau, *, where=True):
    """Lower branch, the local minimum of h and the basin boundary of collapse: ``x / u_plus`` (product of the roots).

    Arguments, mask and errors as in `u_plus`.
    """
    return domain.fraction(x) / u_plus(x, tau, where=where)


def _excess(u, x):
    """(f - u f')/(1-x), whose only zero above sqrt(x) is the Maxwell point; finite in the limit x -> 1."""
    rest = 1 - x
    wide = x > 0.5
    # near x=1 every term is O(1-x): divide it out analytically; for small x the two-term form has no cancellation
    q = _tilt(u, np.where(wide, x, 1.0))
    ratio = np.where(q > 0, np.log1p(q) / np.where(q > 0, q, 1.0), 1.0)
    near_one = np.log1p(u) - u / (1 + u) * ratio - u / (1 + u) * (u / (x + u))
    near_zero = (_concavity(u) - x * _concavity(u / x)) / np.where(wide, 1.0, rest)
    return np.where(wide, near_one, near_zero)


def maxwell_point(x):
    r"""Reduced squared singular value :math:`u_t` at `maxwell`: the root above sqrt(x) of :math:`f(u)=u f'(u)`.

    Safeguarded Newton iteration in log u, to rounding. At x = 1 the limit 2.1626 is returned.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(maxwell_point(0.5)), 5)
    1.53501
    """
    x = domain.fraction(x)
    low = 0.5 * np.log(x)
    high = low + np.log(3 + np.sqrt(-np.log(x)))  # u_t² is about x log(1/x) for small x, 2.1626 at x=1
    log_u = high.copy() if high.ndim else high
    for _ in range(80):
        u = np.exp(log_u)
        value = _excess(u, x)
        low, high = np.where(value < 0, log_u, low), np.where(value < 0, high, log_u)
        # d/dlog u of (f - u f')/(1-x) = -u² f''/(1-x), f'' = 2 h''
        slope = (u / (1 + u)) * (u / (x + u)) * ((u * u - x) / (1 + u) / (x + u))
        newton = log_u - value / np.where(slope > 0, slope, 1.0)
        inside = (newton > low) & (newton < high) & (slope > 0)
        step = np.where(inside, newton, 0.5 * (low + high))
        if np.all(np.abs(step - log_u) <= 2e-16 * (1 + np.abs(log_u))):
            break
        log_u = step
    return np.exp(log_u)[()]


def maxwell(x):
    r"""Reduced multiplier where the nonzero branch and zero have equal value: :math:`\tau_*=f(u_t)/u_t=f'(u_t)`.

    The value h(u_plus) is positive iff tau < tau_*. Always tau_* < tau_c, with tau_*/tau_c between .865 (x -> 1)
    and 1 (x -> 0): between the two the nonzero branch is a local but not a global maximum.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(maxwell(0.5)), 6)
    0.148777
    """
    u = maxwell_point(x)
    # f/u is stationary at u_t, so the rounding of u_t enters only to second order
    return (_gain(u, np.asarray(x, dtype=float)) / u)[()]
