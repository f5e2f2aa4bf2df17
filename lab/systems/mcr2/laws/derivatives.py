"""Derivatives of the regularised objective, how curved it can be, and the steps that climb it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.rates import (
    MANY,
    Features,
    Weighted,
    class_scale,
    largest_energy,
    rate_units,
    second_moments,
    weighted,
)

W24 = "arXiv:2406.01909"
DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"


# ---------------------------------------------------------------------- derivatives


class Differentiated(Weighted):
    """Weighted features, a direction, and a penalty ``tau alpha``."""

    tau: Annotated[float, Ge(1e-3), Le(10.0), LogScale()] = 0.1


@measurement
def derivatives(p: Differentiated, data, stream, *, weight: float = 1.0):
    """Closed forms: gradients of R, R_c and F in Z, of R_c in the membership, Hessian of F along a unit direction.

    `weight` multiplies lambda (2: a penalty without the factor 1/2).
    """
    Z, weights, lam = data["Z"], data["weights"], weight * p.tau * p.alpha
    found = [
        coding_rate.coding_rate_gradient(Z, eps=p.eps),
        coding_rate.class_coding_rate_gradient(Z, weights, eps=p.eps),
        coding_rate.regularised_rate_reduction_gradient(Z, weights, eps=p.eps, lam=lam),
        coding_rate.membership_gradient(Z, weights, eps=p.eps),
        coding_rate.hessian_vector_product(Z, data["direction"], weights, eps=p.eps, lam=lam),
    ]
    return {"derivatives": np.concatenate([np.ravel(a) for a in found])}


def _logdet(B: np.ndarray) -> np.ndarray:
    sign, size = np.linalg.slogdet(B)
    return size + 1j * np.angle(sign)


def complex_steps(p: Differentiated, data, *, weighted: bool = True, frozen: bool = False):
    """The same derivatives from the definitions by complex steps: Im f(x + ih)/h is f'(x) up to rounding.

    The Hessian is a complex step of the gradient written with inverses, which the first parts verify.
    ``weighted=False`` drops the weights n_k/N, which makes c/n_k the prefactor of the gradient of R_c; `frozen` holds
    the class sizes n_k fixed in the derivative by the membership.
    """
    Z, weights, n, eye = data["Z"], data["weights"], p.n, np.eye(p.dim)
    h = 1e-20 * np.linalg.norm(Z)

    def classwise(Z, weights, mass):
        terms = _logdet(eye + (p.dim / p.eps**2 / mass)[..., None, None] * second_moments(Z, weights))
        return np.sum((mass if weighted else n) * terms, axis=-1) / (2 * n)

    steps = Z + 1j * h * np.eye(Z.size).reshape(Z.size, *Z.shape)
    sizes = weights.sum(axis=0)
    whole = np.imag(0.5 * _logdet(eye + p.alpha * steps.mT @ steps)) / h
    classes = np.imag(classwise(steps, weights, sizes)) / h
    moved = weights + 1e-20j * np.eye(weights.size).reshape(weights.size, *weights.shape)
    mass = sizes + 0j * moved.sum(axis=-2) if frozen else moved.sum(axis=-2)
    by_membership = np.imag(classwise(Z, moved, mass)) / 1e-20

    Y = Z + 1e-20j * data["direction"]
    inverses = np.linalg.inv(eye + class_scale(p, weights)[:, None, None] * second_moments(Y, weights))
    classes_pull = np.sum(weights.T[..., None] * (Y @ inverses), axis=0)
    slope = Y @ np.linalg.inv(eye + p.alpha * Y.T @ Y) - classes_pull - p.tau * Y
    hessian = p.alpha * np.imag(slope) / 1e-20
    gradient = whole - classes - p.tau * p.alpha * Z.ravel()
    return np.concatenate([whole, classes, gradient, by_membership, hessian.ravel()])


def derivative_units(p: Differentiated, data) -> np.ndarray:
    """with m = n + d and k = 1 + (c/n_k)||sqrt(pi_k) Z||^2, the largest condition number: a factorisation is off by
    m k, Z A by m sqrt(k) ||Z|| only, since |Z A| <= sqrt(n_k/c)/2, so gradients by alpha m sqrt(k) ||Z|| and
    lambda m ||Z||; the Hessian along a unit direction by m (k + tau) alpha; the membership gradient, with c z A z', by
    a log-determinant over N and m sqrt(k) alpha ||Z||^2"""
    energy = largest_energy(p, data)
    k, m, units = 1 + energy, p.n + p.dim, rate_units(p, data)
    gradient = m * np.sqrt(k) * np.sqrt(p.alpha * p.energy) + m * p.tau * np.sqrt(p.alpha * p.energy)
    by_membership = units / p.n + m * np.sqrt(k) * p.energy
    hessian = m * p.alpha * (k + p.tau)
    size = p.n * p.dim
    return np.repeat([gradient, by_membership, hessian], [3 * size, p.n * p.classes, size])


GRADIENTS = Law(
    id="mcr2/gradients",
    source=Source(W24, "gradient of the objective; derivative by the membership and Hessian written out here"),
    statement="""
    grad R = alpha Z M^-1, grad R_c = alpha sum_k diag(pi_k) Z A_k with the same alpha for every class, and
    grad F = grad R - grad R_c - lambda Z; M = I + alpha Z^T Z, A_k = (I + (c/n_k) Z^T diag(pi_k) Z)^-1, c = d/eps^2.
    dR_c/dPi_ik = [logdet A_k^-1 + c z_i^T A_k z_i - (d - tr A_k)]/(2N), the change of n_k included; and the Hessian,
    for hard classes D^2F[E]_k = alpha E_k M^-1 - alpha^2 Z_k M^-1 D M^-1 - alpha E_k A_k
    + alpha alpha_k Z_k A_k D_k A_k - lambda E_k with D = Z^T E + E^T Z, D_k likewise. Samples in rows.
    """,
    params=Differentiated,
    situation=weighted,
    predict=complex_steps,
    measure=derivatives,
    claim=Equality(of="derivatives", rounding=derivative_units),
    controls={
        "d/(n_k eps^2) as prefactor": but(predict=partial(complex_steps, weighted=False)),
        "class sizes held fixed": but(predict=partial(complex_steps, frozen=True)),
        "regulariser without 1/2": but(measure=partial(derivatives, weight=2.0)),
    },
    examples=(Differentiated(), Differentiated(membership="hard", n=5, dim=8), Differentiated(classes=1)),
    draws=Draws(shapes=6, values=8),
)


# ---------------------------------------------------------------------- curvature


class Curved(Params):
    """Two hard classes; singular values of the whole ``sqrt(u/alpha)`` times log-normal factors of width `spread`."""

    dim: Annotated[int, Ge(1), Le(5)] = 3
    first: Annotated[int, Ge(1), Le(5)] = 2
    second: Annotated[int, Ge(1), Le(5)] = 4
    rank: Annotated[int, Ge(1), Le(5)] = 2
    u: Annotated[float, Ge(1e-2), Le(1e3), LogScale()] = 3.0
    spread: Annotated[float, Ge(0.0), Le(1.0)] = 0.5
    tau: Annotated[float, Ge(1e-3), Le(10.0), LogScale()] = 0.1
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5

    @model_validator(mode="after")
    def _rank_fits(self) -> Self:
        if self.rank > min(self.n, self.dim):
            raise ValueError(f"rank={self.rank} exceeds min(n, dim)={min(self.n, self.dim)}; lower rank or raise both")
        return self

    @property
    def n(self) -> int:
        return self.first + self.second

    @property
    def alpha(self) -> float:
        return self.dim / (self.n * self.eps**2)


def stretched(p: Curved, stream) -> dict[str, np.ndarray]:
    """Features with Haar singular vectors."""
    rng = stream.numpy("features")
    u = p.u * np.exp(2 * p.spread * rng.standard_normal(p.rank))
    return {"Z": haar(rng, p.n, p.rank) * np.sqrt(u / p.alpha) @ haar(rng, p.dim, p.rank).T}


def rate_hessian(Z: np.ndarray, alpha: float) -> np.ndarray:
    """Dense Hessian of R, a complex step of ``alpha Z (I + alpha Z^T Z)^-1`` along every coordinate."""
    h = 1e-20 * np.linalg.norm(Z)
    Y = Z + 1j * h * np.eye(Z.size).reshape(Z.size, *Z.shape)
    rows = np.imag(alpha * Y @ np.linalg.inv(np.eye(Z.shape[1]) + alpha * Y.mT @ Y)).reshape(Z.size, Z.size) / h
    return 0.5 * (rows + rows.T)


@measurement
def curvatures(p: Curved, data, stream, *, power: float = 2.0):
    """Ends of the spectrum of Hess R (the lower one with its sign changed), and ||Hess F|| - lambda, in units of alpha.

    The objective is measured with ``eps**(power/2)`` in the place of eps.
    """
    eps = p.eps ** (power / 2)
    ends = np.linalg.eigvalsh(rate_hessian(data["Z"], p.dim / (p.n * eps**2)))[[-1, 0]] / p.alpha
    hessian = dynamics.hessian(data["Z"], (p.first, p.second), eps=eps, lam=p.tau * p.alpha)
    norm = np.abs(np.linalg.eigvalsh(hessian)).max() / p.alpha - p.tau
    return {"ends": np.array([ends[0], -ends[1], norm]), "lowest": ends[1]}


def curvature_limits(p: Curved) -> np.ndarray:
    low, high = theory.rate_curvature_range(p.alpha)
    return np.array([high, -low, theory.smoothness(p.alpha, p.tau * p.alpha) - p.tau * p.alpha]) / p.alpha


def curvature_units(p: Curved, data) -> float:
    """eigenvalues move by at most the norm of the error: m k for products and inverses of size m = n + d with condition
    k = 1 + n/N_k alpha ||Z||^2, N d (1 + tau) for the eigensolver; the complex step has no truncation error"""
    energy = p.alpha * np.sum(data["Z"] ** 2)
    k = 1 + p.n / min(p.first, p.second) * energy
    return (p.n + p.dim) * k + p.n * p.dim * (1 + p.tau)


SMOOTHNESS = Law(
    id="mcr2/smoothness",
    source=Source(DERIVED),
    statement="""
    Every eigenvalue of the Hessian of R lies in [-alpha/8, alpha], both ends attained (the lower one at a singular
    value with u = alpha s^2 = 3, the upper one along directions orthogonal to Z on both sides); so does every one of
    R_c, and ||Hess F|| <= 9 alpha/8 + lambda =: L. Judged: the two ends and ||Hess F|| - lambda, in units of alpha.
    L is safe rather than sharp: no norm above alpha + lambda was found.
    """,
    params=Curved,
    situation=stretched,
    predict=curvature_limits,
    measure=curvatures,
    claim=Bound(of="ends", side="upper", rounding=curvature_units, resolve=1e-6),
    controls={
        "R taken for convex": but(predict=lambda p: np.array([1.0, 0.0, 9 / 8])),
        "eps for eps^2": but(measure=partial(curvatures, power=1.0)),
    },
    examples=(Curved(spread=0.0), Curved(dim=1, rank=1, first=1, second=1, spread=0.0), Curved(u=1e3)),
    draws=MANY,
)


class FlatSpectrum(Curved):
    """As `Curved`, all nonzero singular values equal."""

    spread: Annotated[float, Ge(0.0), Le(0.0)] = 0.0


RATE_CURVATURE = Law(
    id="mcr2/rate-curvature",
    source=Source(DERIVED),
    statement="""
    Where all nonzero singular values of Z equal sqrt(u/alpha), the lowest eigenvalue of the Hessian of R is
    alpha (1-u)/(1+u)^2. Its least value over u is -alpha/8, at u = 3: the lower end in mcr2/smoothness is attained.
    """,
    params=FlatSpectrum,
    situation=stretched,
    predict=lambda p: theory.rate_curvature(p.u),
    measure=curvatures,
    claim=Equality(of="lowest", rounding=curvature_units, scale=1 / 8, resolve=1e-6),
    controls={
        "1/(1+u), the slope of log": but(predict=lambda p: 1 / (1 + p.u)),
        "eps for eps^2": but(measure=partial(curvatures, power=1.0)),
    },
    examples=(FlatSpectrum(u=3.0), FlatSpectrum(u=1.0), FlatSpectrum(dim=1, rank=1, u=1e3)),
    draws=MANY,
)


class Step(Features):
    """Hard classes, a penalty ``tau alpha``, and one ascent step of length ``step/L``."""

    tau: Annotated[float, Ge(1e-2), Le(1e4), LogScale()] = 0.1
    step: Annotated[float, Ge(0.05), Le(2.0)] = 1.99


@measurement
def gain(p: Step, data, stream, *, stretch: float = 1.0, class_share: float = 1.0):
    """``[F(Z + eta g) - F(Z)]/(eta ||g||^2)`` with g = grad F, eta = stretch step/L.

    `class_share` multiplies the part 9 alpha/8 of L.
    """
    Z, lam = data["Z"], p.tau * p.alpha
    labels = np.argmax(data["weights"], axis=1)
    eta = stretch * p.step / (class_share * 1.125 * p.alpha + lam)
    value = partial(coding_rate.regularised_rate_reduction, classes=labels, eps=p.eps, lam=lam)
    before, g = coding_rate.value_and_gradient(Z, labels, eps=p.eps, lam=lam)
    return {"gain": (value(Z + eta * g) - before) / (eta * np.sum(g**2))}


def least_gain(p: Step) -> float:
    """1 - eta L/2."""
    lam = p.tau * p.alpha
    eta = p.step / float(theory.smoothness(p.alpha, lam))
    return 1 - eta / float(theory.largest_monotone_step(p.alpha, lam))


def gain_units(p: Step, data) -> float:
    """rounding of the two values (log-determinants, and lambda ||Z||^2/2, before and after a step that at most triples
    ||Z||) over eta ||g||^2"""
    lam = p.tau * p.alpha
    labels = np.argmax(data["weights"], axis=1)
    g = coding_rate.regularised_rate_reduction_gradient(data["Z"], labels, eps=p.eps, lam=lam)
    eta = p.step / float(theory.smoothness(p.alpha, lam))
    return 10 * (2 * rate_units(p, data) + p.n * p.dim * p.tau * p.energy) / (eta * np.sum(g**2)) + 1


MONOTONE_ASCENT = Law(
    id="mcr2/monotone-ascent",
    source=Source(DERIVED),
    statement="""
    Gradient ascent with step eta gains at least eta (1 - eta L/2) ||grad F||^2, L = 9 alpha/8 + lambda, so F never
    falls for eta <= 2/L; the step 1/alpha is safe while lambda <= 7 alpha/8. Judged is the gain over eta ||grad F||^2;
    sharp as lambda/alpha grows, where F is -(lambda/2)||Z||^2 and L its curvature.
    """,
    params=Step,
    situation=weighted,
    predict=least_gain,
    measure=gain,
    claim=Bound(of="gain", side="lower", rounding=gain_units, scale=1.0, resolve=1e-3),
    controls={
        "a step beyond 2/L called monotone": but(measure=partial(gain, stretch=1.06), predict=lambda p: 0.0),
        "L = lambda, the curvature of R ignored": but(measure=partial(gain, class_share=0.0)),
    },
    examples=(Step(), Step(tau=1e4), Step(step=2.0, tau=1e4, energy=1e-2)),
    draws=MANY,
)
