"""Certificates of two curves: constant on each of them, and what finite networks make of it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.curves import coaxial, coaxial_angles, pair_angles, rotated, symmetric_pair
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.angle_kernels import hidden_kernel, limit_kernel, skeleton
from lab.models.relu_networks import empirical_ntk, features, relu_init
from lab.params import Ge, Le, LogScale, Params, Static
from lab.systems.curves.laws.skeleton import DERIVED
from lab.systems.curves.laws.spectrum import covariance_kernel, lost_digits
from lab.systems.curves.theory.certificate import constant_certificate, pair_eigenvalues
from lab.systems.curves.theory.spectrum import pair_spectrum

Error = Annotated[float, Ge(-1.0), Le(1.0)]

# ---------------------------------------------------------------------- exact certificates


class Circles(Params):
    """Two coaxial circles, N points on each, share p+ of the density on the first, an error constant on each."""

    r_plus: Annotated[float, Ge(0.3), Le(0.7)] = 0.5
    gap: Annotated[float, Ge(0.1), Le(0.5)] = 0.3
    share: Annotated[float, Ge(0.2), Le(0.8)] = 0.5
    error_plus: Error = 1.0
    error_minus: Error = -1.0
    points: Annotated[int, Ge(4), Le(30)] = 12
    depth: Annotated[int, Ge(1), Le(30)] = 8
    dimension: Annotated[int, Ge(3), Le(10)] = 4

    @property
    def r_minus(self) -> float:
        return self.r_plus * (1 - self.gap)

    @property
    def angles(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Closed forms: within the first circle, between the two, within the second."""
        return coaxial_angles(self.r_plus, self.r_minus, 2 * np.pi * np.arange(self.points) / self.points)


@measurement
def solved_certificate(p: Circles, stream, *, floor: bool = True, wobble: float = 0.0):
    """The certificate at all points, by solving with the Gram matrix of rotated points; the kernel less its
    smallest value if not `floor`; points off their equal steps by up to `wobble`."""
    t = np.tile(2 * np.pi * np.arange(p.points) / p.points, 2)
    t = t + wobble * np.sin(t)
    sample = coaxial(p.r_plus, p.r_minus, points=p.points, n0=p.dimension)
    radius = np.hypot(sample.X[:, 0], sample.X[:, 1])
    moved = np.column_stack([radius * np.cos(t), radius * np.sin(t), sample.X[:, 2:]])
    kernel = covariance_kernel(rotated(stream.numpy("rotation"), sample._replace(X=moved)).X, p.depth)
    kernel = kernel - (0.0 if floor else kernel.min())
    first = sample.labels > 0
    weights = np.where(first, p.share, 1 - p.share) / p.points
    return {"certificate": np.linalg.solve(kernel * weights, np.where(first, p.error_plus, p.error_minus))}


def constant_on_circles(p: Circles, *, swapped: bool = False) -> np.ndarray:
    """The two numbers of the closed form, each at all points of its circle."""
    blocks = [float(np.mean(hidden_kernel(nu, p.depth))) for nu in p.angles]
    share = 1 - p.share if swapped else p.share
    return np.repeat(constant_certificate(blocks, share, (p.error_plus, p.error_minus)), p.points)


def solver_errors(p: Circles) -> float:
    """an error E of the kernel's entries moves a solution g by at most E |g| sqrt(2N)/(w_min/w_max) over the least
    eigenvalue of the Gram matrix over 2N; E is L/2 times the digits lost between the nearest points, with
    cosines of eight roundings, and 2N more of the elimination"""
    own, cross, other = p.angles
    least_sine = float(np.min(np.sin(np.concatenate([own[1:], cross, other[1:]]))))
    entries = p.depth / 2 * (8 * lost_digits(least_sine, p.depth) + 2 * p.points)
    least = pair_spectrum(*(hidden_kernel(nu, p.depth) for nu in p.angles))[0]
    uneven = max(p.share, 1 - p.share) / min(p.share, 1 - p.share)
    return float(entries / least * uneven * np.sqrt(2 * p.points) * np.max(np.abs(constant_on_circles(p))))


CERTIFICATE_COAXIAL = Law(
    id="curves/certificate-coaxial",
    source=Source("arXiv:2008.11245", "certificate problem of two coaxial circles"),
    statement="""
    The certificate of an error zeta that is constant on each of two coaxial circles is constant on each of them
    too: the solution of [[p+ k++, p- k+-], [p+ k+-, p- k--]] g = zeta with the means k of the kernel over the
    angle, for every number of equidistant points, dimension and rotation. It changes if a constant is taken from
    the kernel (control), and is not constant if points are not uniform in arclength (control).
    """,
    params=Circles,
    predict=constant_on_circles,
    measure=solved_certificate,
    claim=Equality(of="certificate", rounding=solver_errors, scale=lambda p: np.abs(constant_on_circles(p)).max()),
    controls={
        "kernel without its floor": but(measure=partial(solved_certificate, floor=False)),
        "points off equal steps": but(measure=partial(solved_certificate, wobble=0.2)),
        "shares swapped": but(predict=partial(constant_on_circles, swapped=True), examples=(Circles(share=0.3),)),
    },
    examples=(Circles(), Circles(share=0.3, depth=1, dimension=3), Circles(points=30, depth=30, error_minus=0.5)),
    draws=Draws(shapes=6, values=2),
)


class Exchanged(Params):
    """A symmetric pair, N points on each circle."""

    r: Annotated[float, Ge(0.2), Le(0.7)] = 0.5
    separation: Annotated[float, Ge(0.1), Le(0.6)] = 0.3
    points: Annotated[int, Ge(4), Le(30)] = 12
    depth: Annotated[int, Ge(1), Le(30)] = 8

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if np.cos(self.separation) < 2 * self.r**2:
            raise ValueError(f"r={self.r:g}, separation={self.separation:g}: angles above pi/2; needs cos >= 2 r²")
        return self

    @property
    def angles(self) -> tuple[np.ndarray, np.ndarray]:
        """Closed forms: within a circle, and between the two."""
        return pair_angles(self.r, self.separation, 2 * np.pi * np.arange(self.points) / self.points)


@measurement
def image_of_labels(p: Exchanged, stream, *, shrunk: float = 0.0):
    """Labels times their image under the Gram matrix over 2N, with the kernel and with the kernel less its smallest
    value; the second circle smaller by a factor `1 - shrunk`."""
    sample = symmetric_pair(p.r, p.separation, points=p.points)
    X = sample.X.copy()
    second = X[p.points :]
    heights = np.linalg.norm(second[:, 2:], axis=1, keepdims=True)
    radius = p.r * (1 - shrunk)
    X[p.points :] = np.hstack([second[:, :2] * (1 - shrunk), second[:, 2:] * np.sqrt(1 - radius**2) / heights])
    kernel = covariance_kernel(rotated(stream.numpy("rotation"), sample._replace(X=X)).X, p.depth)
    y = sample.labels
    return {"image": np.stack([y * (k @ y) / y.size for k in (kernel, kernel - kernel.min())])}


def difference_mode(p: Exchanged) -> float:
    """lambda_-, by the means over the angle."""
    return float(pair_eigenvalues(*(np.mean(hidden_kernel(nu, p.depth)) for nu in p.angles))[0])


def image_errors(p: Exchanged) -> float:
    """entries as in curves/certificate-coaxial, and a sum of 2N of them"""
    own, cross = p.angles
    least_sine = float(np.min(np.sin(np.concatenate([own[1:], cross]))))
    return p.depth / 2 * (8 * lost_digits(least_sine, p.depth) + 2 * p.points)


PAIR_MODES = Law(
    id="curves/pair-modes",
    source=Source(DERIVED),
    statement="""
    On two circles that a symmetry exchanges, labels +-1 are an eigenfunction of the kernel, of eigenvalue
    lambda_- = (k++ - k+-)/2 with the means of the kernel over the angle, and the certificate is g =
    +-1/lambda_-: exactly, at every number of equidistant points, and whatever constant is taken from the kernel.
    On circles of unequal radii they are none (control).
    """,
    params=Exchanged,
    predict=difference_mode,
    measure=image_of_labels,
    claim=Equality(of="image", rounding=image_errors),
    controls={
        "unequal radii": but(measure=partial(image_of_labels, shrunk=0.02)),
        "sum mode": but(predict=lambda p: 2 * float(np.mean(hidden_kernel(p.angles[0], p.depth))) - difference_mode(p)),
    },
    examples=(Exchanged(), Exchanged(depth=30, points=30), Exchanged(depth=1, separation=0.1)),
    draws=Draws(shapes=6, values=2),
)

# ---------------------------------------------------------------------- finite width

SEPARATIONS = np.array([0.03, 0.1, 0.3, 0.6])


class Finite(Params):
    """Random networks of n units a layer on symmetric pairs of four separations, 12 points on each circle."""

    r: Annotated[float, Ge(0.2), Le(0.6), Static()] = 0.5
    width: Annotated[int, Ge(32), Le(8192), LogScale()] = 256
    depth: Annotated[int, Ge(1), Le(64)] = 2

    @model_validator(mode="after")
    def _wide(self) -> Self:
        if self.depth * 16 > self.width:
            raise ValueError(f"depth={self.depth}, width={self.width}: needs n >= 16 L, fluctuations are of order L/n")
        return self


@measurement(runs="jax", precision="float32")
def finite_modes(p: Finite, stream, *, gain: float = 2.0, last_layer: bool = False):
    """``lambda_-/n`` of the empirical kernel of one random network, at the four separations; of the last layer's
    features alone, if asked."""
    import jax.numpy as jnp

    weights = relu_init(stream.jax("network"), p.width, p.depth, 4, gain=gain)
    pairs = [symmetric_pair(p.r, float(one), points=12) for one in SEPARATIONS]
    X = jnp.asarray(np.stack([pair.X for pair in pairs]), weights[0].dtype)
    y = jnp.asarray(pairs[0].labels / pairs[0].labels.size, X.dtype)
    if last_layer:
        last = features(weights, X)[-1]
        kernel = last @ last.mT
    else:
        kernel = empirical_ntk(weights, X)
    return {"difference": (kernel @ y) @ y / p.width}


def limiting_modes(p: Finite, *, kernel: Any = limit_kernel) -> np.ndarray:
    """``lambda_-/n`` of the limit kernel at the same points."""
    tau = 2 * np.pi * np.arange(12) / 12
    means = [[np.mean(kernel(nu, p.depth, p.width)) for nu in pair_angles(p.r, one, tau)] for one in SEPARATIONS]
    return np.array([pair_eigenvalues(*one)[0] for one in means]) / p.width


def bias(p: Finite) -> np.ndarray:
    """the statement: the mean of finite networks is off by at most L/n of itself"""
    return limiting_modes(p) * p.depth / p.width


FINITE_SEPARATION = Law(
    id="curves/finite-separation",
    source=Source(DERIVED),
    statement="""
    The eigenvalue lambda_- that tells two circles apart, of random networks of finite width, has the mean of the
    limit kernel within L/n of itself, for n >= 16 L (its standard deviation is near 2 sqrt(L/n) of it). At small
    depth the skeleton is not the kernel (control).
    """,
    params=Finite,
    predict=limiting_modes,
    measure=finite_modes,
    claim=Equality(of="difference", over="mean", stated=bias, resolve=0.3),
    controls={
        "gain 1": but(measure=partial(finite_modes, gain=1.0)),
        "last layer alone": but(measure=partial(finite_modes, last_layer=True)),
        "skeleton instead of kernel": but(
            predict=partial(limiting_modes, kernel=lambda nu, depth, width: width * skeleton(nu, depth))
        ),
    },
    examples=(Finite(),),
    draws=Draws(shapes=0, replicates=64),
)
