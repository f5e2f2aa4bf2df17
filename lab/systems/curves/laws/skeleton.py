"""The skeleton of the kernel: bounds, closed forms of deep networks, shape, floor, and what the full kernel lacks."""

from __future__ import annotations

from functools import cache, partial
from typing import Annotated, Any

import numpy as np

from lab.claims import Bound, Limit, Rate
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.angle_kernels import hidden_kernel, skeleton
from lab.params import Ge, Le, LogScale, Params
from lab.systems.curves.theory.angles import abel
from lab.systems.curves.theory.skeleton import deep_skeleton, hidden_gap, inverse_angle_skeleton, skeleton_bounds

DERIVED = "derived for this laboratory; not found in arXiv:2008.11245 or arXiv:2107.14324"

# ---------------------------------------------------------------------- bounds


class OneAngle(Params):
    """An angle and a depth."""

    nu: Annotated[float, Ge(1e-5), Le(np.pi), LogScale()] = 1.0
    depth: Annotated[int, Ge(1), Le(1000), LogScale()] = 30


@measurement
def one_skeleton(p: OneAngle, stream):
    """The skeleton per unit of width."""
    return {"skeleton": float(skeleton(np.asarray(p.nu), p.depth))}


def summed(p: OneAngle) -> float:
    """a product has at most L factors; two roundings each, and l epsilons of an angle that is at most 3 pi/l, hence
    three in angle/pi: 5 L epsilons of a sum of at most L/2"""
    return 5 * p.depth * (p.depth + 1) / 2


SANDWICH_LOWER = Law(
    id="curves/skeleton-sandwich",
    source=Source(DERIVED),
    statement="""
    psi(nu) >= (1/2) sum over l < L of the products of (l + a - k)/(L + a - k), k = 1, 2, 3, with a = 3 pi/nu:
    the skeleton of a network whose angles decay as slowly as curves/angle-decay allows. Attained as nu -> 0,
    where it is L/2, and within 7 % at every angle for L >= 100.
    """,
    params=OneAngle,
    predict=lambda p: float(skeleton_bounds(p.nu, p.depth)[0]),
    measure=one_skeleton,
    claim=Bound(of="skeleton", side="lower", rounding=summed, resolve=1e-6),
    controls={
        "angles decay with pi": but(predict=lambda p: float(skeleton_bounds(p.nu, p.depth)[1])),
        "angles a hundredth smaller": but(predict=lambda p: float(skeleton_bounds(p.nu * 0.99, p.depth)[0])),
    },
    examples=(OneAngle(nu=1e-5, depth=1), OneAngle(), OneAngle(nu=np.pi, depth=1), OneAngle(nu=np.pi, depth=1000)),
    draws=Draws(shapes=12, values=4),
)

SANDWICH_UPPER = Law(
    id="curves/skeleton-sandwich-upper",
    source=Source(DERIVED),
    statement="""
    psi(nu) <= (L/4)(2 b + L - 3)/(L + b - 1) with b = pi/nu: within a factor 2 of the skeleton at every depth
    and angle, attained at L = 1, at L = 2 and nu = pi, and as nu -> 0.
    """,
    params=OneAngle,
    predict=lambda p: float(skeleton_bounds(p.nu, p.depth)[1]),
    measure=one_skeleton,
    claim=Bound(of="skeleton", rounding=summed, resolve=1e-9),
    controls={"angles decay with 3 pi": but(predict=lambda p: float(skeleton_bounds(p.nu, p.depth)[0]))},
    examples=(OneAngle(depth=1), OneAngle(), OneAngle(nu=np.pi, depth=2), OneAngle(nu=np.pi, depth=1000)),
    draws=Draws(shapes=12, values=4),
)

# ---------------------------------------------------------------------- deep networks


class Deep(Params):
    """An angle of y cusp widths, ``nu = 3 pi y/L``, at depths from 30 to 480 (from 10 y where that is more)."""

    y: Annotated[float, Ge(0.15), Le(10.0), LogScale()] = 1.0

    @property
    def depths(self) -> np.ndarray:
        return np.round(max(30.0, 10 * self.y) * 2 ** np.linspace(0, 4, 9)).astype(int)

    @property
    def angles(self) -> np.ndarray:
        return 3 * np.pi * self.y / self.depths


@measurement
def narrowing(p: Deep, stream):
    """Skeleton, and hidden kernel, at angles that narrow like the cusp; their difference times the depth."""
    found = [(skeleton(nu, int(L)), hidden_kernel(nu, int(L))) for nu, L in zip(p.angles, p.depths, strict=True)]
    psi, psi1 = np.array(found, dtype=float).T
    return {"depth": p.depths, "skeleton": psi, "gap": p.depths * (psi - psi1)}


def along_depth(function: Any) -> Any:
    """The closed form at the depths and angles of a point."""
    return lambda p: np.array([function(nu, int(L)) for nu, L in zip(p.angles, p.depths, strict=True)])


SKELETON_ASYMPTOTIC = Law(
    id="curves/skeleton-asymptotic",
    source=Source(DERIVED),
    statement="""
    The skeleton of a deep network is (L/8)(1 + 1/v + 1/v² + 1/v³), v = 1 + L nu/(3 pi): its ratio to that tends
    to 1, with a term of order 1/L at fixed v (log L/L uniformly in the angle).
    """,
    params=Deep,
    predict=along_depth(deep_skeleton),
    measure=narrowing,
    claim=Limit(of="skeleton", along="depth", order=1.0),
    controls={
        "cusp of width pi/L": but(predict=along_depth(lambda nu, L: deep_skeleton(min(3 * nu, np.pi), L))),
        "no floor": but(predict=along_depth(lambda nu, L: deep_skeleton(nu, L) - L / 8)),
    },
    examples=(Deep(), Deep(y=0.15), Deep(y=10.0)),
    draws=Draws(shapes=1, values=3),
)


def half_ends_left_out(nu: float, depth: int) -> float:
    """The closed form with the sum over layers taken for an integral: without the half of its ends."""
    rho3 = ((inverse := 3 * np.pi / nu) / (inverse + depth)) ** 3
    return float(inverse_angle_skeleton(nu, depth) + (1 - rho3) / 4)


def roundings_of_layers(p: Deep) -> float:
    """five epsilons a layer, as in curves/skeleton-sandwich"""
    return 5.0 * p.depths[-1]


SKELETON_ERROR = Law(
    id="curves/skeleton-error",
    source=Source(DERIVED),
    statement="""
    With exact inverse angles w_0 = 3 pi/nu, w_L = 3 pi/phi^(L)(nu) and rho = w_0/w_L the skeleton is (1/8)[w_L -
    w_0 rho³ - 6 (1 - rho³) + (3/2)(1 - rho⁴)] up to an error that falls like 1/L: in relative terms 4e-6 at L =
    1000, at every angle.
    """,
    params=Deep,
    predict=lambda p: {"limit": along_depth(inverse_angle_skeleton)(p), "rate": -1.0},
    measure=narrowing,
    claim=Rate(of="skeleton", along="depth", order=1.0, deviation=True, rounding=roundings_of_layers),
    controls={
        "sum without half of its ends": but(
            predict=lambda p: {"limit": along_depth(half_ends_left_out)(p), "rate": -1.0}
        ),
        "leading order": but(predict=lambda p: {"limit": along_depth(deep_skeleton)(p), "rate": -1.0}),
    },
    examples=(Deep(), Deep(y=0.2), Deep(y=10.0)),
    draws=Draws(shapes=1, values=2),
)  # fmt: skip

SKELETON_VS_FULL = Law(
    id="curves/skeleton-vs-full",
    source=Source(DERIVED),
    statement="""
    Skeleton minus hidden kernel of a deep network is (9 pi²/8)(1/w_L)(1 - (w_0/w_L)²), of order 1/L, where both
    are of order L: L times it tends to that at every angle of y cusp widths. (At L = 30 they still differ by 6
    %, at L = 10 by 26 %.)
    """,
    params=Deep,
    predict=lambda p: p.depths * along_depth(hidden_gap)(p),
    measure=narrowing,
    claim=Limit(of="gap", along="depth", order=lambda x: np.log(x) / x),
    controls={
        "no cosines": but(predict=lambda p: p.depths * along_depth(lambda nu, L: 2 * hidden_gap(nu, L))(p)),
        "depth for inverse angle": but(predict=lambda p: np.full(p.depths.size, 9 * np.pi**2 / 8)),
    },
    examples=(Deep(), Deep(y=0.15), Deep(y=10.0)),
    draws=Draws(shapes=1, values=3),
)

# ---------------------------------------------------------------------- fixed angle: floor, and what is left above it


class Fixed(Params):
    """A fixed angle, at depths from 250 to 2000."""

    nu: Annotated[float, Ge(0.3), Le(3.0), LogScale()] = 0.5

    @property
    def depths(self) -> np.ndarray:
        return np.round(np.geomspace(250, 2000, 8)).astype(int)


@measurement
def deeper(p: Fixed, stream, *, shrinking: bool = False):
    """Skeleton over L, and skeleton less its value at angle pi; at an angle that shrinks like 1/L if asked."""
    nu = np.append(p.nu * p.depths[0] / p.depths if shrinking else np.full(p.depths.size, p.nu), np.pi)
    every = skeleton(nu, p.depths.tolist())
    one, last = np.diagonal(every), every[:, -1]
    return {"depth": p.depths, "share": one / p.depths, "above": one - last}


def floor_share(p: Fixed) -> np.ndarray:
    """``(1 + (3/2) log L/L)/8`` at all depths."""
    return (1 + 1.5 * np.log(p.depths) / p.depths) / 8


@cache
def abel_at(nu: float) -> float:
    """The Abel function of the angle map; tolerances and predictions ask for it again and again."""
    return float(abel(nu))


def inverse_logarithm(p: Fixed) -> float:
    """w_L = L + (3/2) log w_L + A: the term (3/2)((3/2) log L + A)/L that follows in inverse angles, at the deepest
    network"""
    depth = p.depths[-1]
    return float(1.5 * (1.5 * np.log(depth) + abel_at(p.nu)) / 8 / depth**2)


SKELETON_FLOOR = Law(
    id="curves/skeleton-floor",
    source=Source(DERIVED),
    statement="""
    At every fixed angle the skeleton is n (L + (3/2) log L)/8 up to a constant: it has a floor, a quarter of its
    peak n L/2, reached slowly because of the logarithm (control), and does not decay.
    """,
    params=Fixed,
    predict=floor_share,
    measure=deeper,
    claim=Limit(of="share", along="depth", order=1.0, as_="difference", scale=0.125, stated=inverse_logarithm),
    controls={
        "half of the floor": but(predict=lambda p: floor_share(p) / 2),
        "angle that shrinks like 1/L": but(measure=partial(deeper, shrinking=True)),
    },
    examples=(Fixed(), Fixed(nu=2.5), Fixed(nu=0.3)),
    draws=Draws(shapes=1, values=2),
)

SKELETON_DECAY_PRINTED = SKELETON_FLOOR.printed(
    "curves/skeleton-decay-printed",
    at=(Fixed(),),
    source=Source("arXiv:2107.14324", "decay of the kernel, read for the skeleton psi instead of psi - psi(pi)"),
    statement="""
    As often quoted: the kernel at a fixed angle decays relative to its peak, C n L/(1 + c L nu), so that psi/(n
    L) -> 0. True of the skeleton less its constant, which tends to [A(nu) - A(pi)]/8
    (curves/skeleton-above-floor); psi/(n L) itself tends to 1/8.
    """,
    predict=lambda p: 0.0,
)

def logarithms_left(p: Fixed) -> float:
    """inverse angles w_L = L + A + (3/2) log w_L are A - A' apart, times 1 + 3/(2 L) and a term (3/2)((3/2) log L +
    A)/L² that the fit does not know: it is trusted no further than that at the deepest network, and the 1e-6 of
    either Abel function"""
    depth, here, there = p.depths[-1], abel_at(p.nu), abel_at(np.pi)
    return 1.5 * (1.5 * np.log(depth) + abs(here) + abs(there)) / depth**2 + 2e-6 / (here - there)


SKELETON_ABOVE_FLOOR = Law(
    id="curves/skeleton-above-floor",
    source=Source(DERIVED),
    statement="""
    What depth leaves of the skeleton above its floor: psi(nu) - psi(pi) -> n [A(nu) - A(pi)]/8, with the Abel
    function A of the angle map, 3 pi/phi^(l)(nu) = l + (3/2) log l + A(nu) + o(1). It is 1.4266 n at nu = .5,
    and 3 pi/(8 nu) n for small nu: the kernel of an infinitely deep network that tells curves apart.
    """,
    params=Fixed,
    predict=lambda p: (abel_at(p.nu) - abel_at(np.pi)) / 8,
    measure=deeper,
    claim=Limit(of="above", along="depth", order=1.0, stated=logarithms_left),
    controls={"inverse angles alone": but(predict=lambda p: float(3 * np.pi / p.nu - 3) / 8)},
    examples=(Fixed(), Fixed(nu=2.5), Fixed(nu=0.3)),
    draws=Draws(shapes=1, values=2),
)

# ---------------------------------------------------------------------- shape


class Shape(Params):
    """A depth; angles on a grid, and Legendre coefficients."""

    depth: Annotated[int, Ge(2), Le(300), LogScale()] = 10


DEGREES = 40
QUADRATURE = 400


@measurement(runs="jax")
def shape_of_kernel(p: Shape, stream, *, full: bool = False):
    """Smallest value, steepness and curvature over [.01, pi], and smallest of the first Legendre coefficients with and
    without the constant psi(pi); each over the kernel's peak L/2. Derivatives are exact (forward mode)."""
    import jax
    import jax.numpy as jnp

    kernel = hidden_kernel if full else skeleton
    nu = jnp.linspace(0.01, np.pi, 400)

    def slope(a: Any) -> Any:
        return jax.jvp(lambda b: kernel(b, p.depth), (a,), (jnp.ones_like(a),))[1]

    curvature = jax.jvp(slope, (nu,), (jnp.ones_like(nu),))[1]
    c, w = np.polynomial.legendre.leggauss(QUADRATURE)
    basis = np.polynomial.legendre.legvander(c, DEGREES).T * w
    coefficients = jnp.asarray(basis) @ kernel(jnp.arccos(jnp.asarray(c)), p.depth)
    floored = coefficients.at[0].add(-2 * kernel(jnp.asarray([np.pi]), p.depth)[0])
    peak = p.depth / 2
    least = [kernel(nu, p.depth).min(), -slope(nu).max(), curvature.min(), coefficients.min(), floored.min()]
    return {"least": jnp.stack(least) / peak}


def shape_errors(p: Shape) -> np.ndarray:
    """values, slopes and curvatures of L layers: L epsilons, over the angle .01 once and twice for the derivatives;
    coefficients: the cusp sqrt(1 - c) costs a Gauss rule of Q nodes a coefficient ~ slope/Q³ of the kernel's
    peak"""
    eps = np.finfo(float).eps
    cusp = (p.depth + 1) / QUADRATURE**3 / eps
    return np.array([p.depth, 1e2 * p.depth, 1e4 * p.depth, cusp, cusp])


SKELETON_SHAPE = Law(
    id="curves/skeleton-shape",
    source=Source(DERIVED),
    statement="""
    The skeleton is nonnegative, decreasing and convex in the angle at every depth, and positive definite on the
    sphere in three dimensions, with and without its constant psi(pi) (Legendre coefficients). The *full* kernel
    has not this shape: it increases near pi at every depth, by psi1'(pi) = (1/2 pi) prod (1 - phi^(l)(pi)/pi)
    (control); it decreases on [0, pi/2].
    """,
    params=Shape,
    predict=lambda p: np.zeros(5),
    measure=shape_of_kernel,
    claim=Bound(of="least", side="lower", rounding=shape_errors, scale=1.0),
    controls={"full kernel": but(measure=partial(shape_of_kernel, full=True))},
    examples=(Shape(depth=2), Shape(depth=100)),
    draws=Draws(shapes=0),
)
