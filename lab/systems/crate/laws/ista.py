"""Sparse coding by ISTA: descent of one step, gap after many, and the orthogonal dictionary."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Le, LogScale, Params
from lab.systems.crate import theory

BT09 = "Beck and Teboulle 2009"
BOOK = "Principles and Practice of Deep Representation Learning"
DERIVED = "derived for this laboratory; not found in arXiv:2306.01129"


class Coding(Params):
    """n rows coded by m atoms in R^d, codes with some entries 0; ``eta = reduced_step/L``, ``lam = share max|Y D|``."""

    n: Annotated[int, Ge(1), Le(4)] = 2
    d: Annotated[int, Ge(1), Le(12)] = 6
    m: Annotated[int, Ge(1), Le(24)] = 10
    share: Annotated[float, Ge(0.0), Le(0.9)] = 0.1
    scale: Annotated[float, Ge(1e-3), Le(1e3), LogScale()] = 1.0
    reduced_step: Annotated[float, Ge(0.01), Le(1.99)] = 1.0


def coding(p: Coding, stream) -> dict[str, np.ndarray]:
    """Dictionary, rows, a start A >= 0 with about half of its entries 0, the penalty."""
    rng = stream.numpy("coding")
    D = rng.standard_normal((p.d, p.m)) / np.sqrt(p.d)
    A = p.scale * np.maximum(rng.standard_normal((p.n, p.m)), 0)
    Y = p.scale * rng.standard_normal((p.n, p.d)) * np.sqrt(p.m / p.d)
    return {"D": D, "Y": Y, "A": A, "lam": np.asarray(p.share * np.max(np.abs(Y @ D)))}


def curvature(data) -> float:
    """L, the squared spectral norm of the dictionary."""
    return float(np.linalg.norm(data["D"], 2)) ** 2


STEPS = 12


def settled(moves: np.ndarray) -> np.ndarray:
    """Steps that move the codes by more than 1e-4 of the first step: later ones are rounding."""
    return moves > 1e-4 * moves[0]


@measurement
def steps_down(p: Coding, data, stream, *, factor: float = 1.0, sign: float = 1.0):
    """Change of F in each of `STEPS` steps over ``L |A+ - A|²``; `factor` multiplies the step, `sign` its lam."""
    A, Y, D, lam, L = data["A"], data["Y"], data["D"], float(data["lam"]), curvature(data)
    eta, changes, moves = factor * p.reduced_step / L, [], []
    for _ in range(STEPS):
        # a negative penalty in the step is a shift of the rows' correlations: the operator refuses one
        moved = A - eta * (A @ D.T - Y) @ D
        after = white_box.ista_step(A, Y, D, eta=eta, lam=lam) if sign > 0 else np.maximum(moved + eta * lam, 0)
        move = float(np.sum((after - A) ** 2))
        # the change itself, without cancellation: F is quadratic on A >= 0
        slope = (A @ D.T - Y) @ D + lam
        change = float(np.sum(slope * (after - A)) + 0.5 * np.sum(((after - A) @ D.T) ** 2))
        changes.append(change / (L * move) if move > 0 else 0.0)
        moves.append(np.sqrt(move))
        A = after
    return {"change": np.array(changes), "moving": settled(np.array(moves))}


def step_units(p: Coding, data) -> float:
    """the slope is off by 8 (n m + d) epsilons of L |A| + |Y D|, times a move of at least 1e-4 of the first, over L
    moves²"""
    L, A = curvature(data), data["A"]
    eta = p.reduced_step / L
    first = white_box.ista_step(A, data["Y"], data["D"], eta=eta, lam=float(data["lam"])) - A
    least = 1e-4 * float(np.linalg.norm(first))
    size = L * (float(np.linalg.norm(A)) + float(np.linalg.norm(data["Y"])) / np.sqrt(L))
    return 8 * (p.n * p.m + p.d) * size * 4 / (L * max(least, 1e-300))


ISTA_DESCENT = Law(
    id="crate/ista-descent",
    source=Source(BT09, "lemma 2.3; the ISTA block of arXiv:2306.01129"),
    statement="""
    One ISTA step of any eta < 2/L from A >= 0 lowers F(A) = lam |A|_1 + |Y - A D^T|²/2:

        F(A+) <= F(A) - (1/eta - L/2) |A+ - A|²,    L = |D|²

    (spectral norm). Attained by one atom with lam = 0. The layer starts at A = LN(z), which is not >= 0: there F
    counts as infinite and the inequality speaks from the second step on. Measured: changes over L |A+ - A|², twelve
    steps.
    """,
    params=Coding,
    situation=coding,
    predict=lambda p: -float(theory.step_decrease(p.reduced_step)),
    measure=steps_down,
    claim=Bound(of="change", side="upper", given="moving", rounding=step_units, scale=1.0, resolve=1e-3),
    controls={
        "step 5 % longer": but(measure=partial(steps_down, factor=1.05)),
        "+ lam": but(measure=partial(steps_down, sign=-1.0)),
        "1/eta for 1/eta - L/2": but(predict=lambda p: -1 / p.reduced_step),
    },
    examples=(Coding(n=1, d=1, m=1, share=0.0, reduced_step=0.5), Coding(reduced_step=1.99), Coding(m=24, share=0.3)),
    draws=Draws(shapes=12, values=8),
)


class Monotone(Coding):
    """... a step just below 2/L."""

    reduced_step: Annotated[float, Ge(1.9), Le(1.99)] = 1.99


@measurement
def worst_rise(p: Monotone, data, stream, *, factor: float = 1.0):
    """Largest increase of F in one of 50 steps, over F at the start, at `factor` times the step."""
    A, Y, D, lam = data["A"], data["Y"], data["D"], float(data["lam"])
    values = [white_box.lasso_objective(A, Y, D, lam=lam)]
    for _ in range(50):
        A = white_box.ista_step(A, Y, D, eta=factor * p.reduced_step / curvature(data), lam=lam)
        values.append(white_box.lasso_objective(A, Y, D, lam=lam))
    F = np.array(values)
    return {"rise": float(np.max(np.diff(F)) / F[0])}


def rise_units(p: Monotone, data) -> float:
    """F is a sum of n (d + m) terms, off by as many epsilons of |Y|² + L |A|², which later codes do not exceed; over F
    at the start"""
    A, Y, D = data["A"], data["Y"], data["D"]
    first = float(white_box.lasso_objective(A, Y, D, lam=float(data["lam"])))
    return 64 * p.n * (p.d + p.m) * (float(np.sum(Y**2)) + curvature(data) * float(np.sum(A**2))) / first


ISTA_MONOTONE = Law(
    id="crate/ista-monotone",
    source=Source(DERIVED),
    statement="""
    The edge of descent of ISTA is 2/L: at 1.99/L the objective never rises, at 2.2/L it does for about one problem in
    six of this domain and at 3/L for one in three (codes stuck at zero have no curvature; so a control needs some
    twenty problems). Measured: the largest increase in 50 steps, over the first value.
    """,
    params=Monotone,
    situation=coding,
    predict=lambda p: 0.0,
    measure=worst_rise,
    claim=Bound(of="rise", side="upper", rounding=rise_units, scale=1.0),
    controls={
        "2.2/L": but(measure=partial(worst_rise, factor=2.2 / 1.99)),
        "3/L": but(measure=partial(worst_rise, factor=3 / 1.99)),
    },
    examples=(Monotone(), Monotone(m=24)),
    draws=Draws(shapes=6, values=4),
)


# ---------------------------------------------------------------------- gap


class Planted(Params):
    """A problem with a planted minimiser: `nonzeros` positive codes a row, residuals that meet its conditions."""

    n: Annotated[int, Ge(1), Le(4)] = 2
    d: Annotated[int, Ge(2), Le(12)] = 8
    m: Annotated[int, Ge(1), Le(24)] = 12
    nonzeros: Annotated[int, Ge(0), Le(6)] = 3
    lam: Annotated[float, Ge(1e-2), Le(10.0), LogScale()] = 0.5
    reduced_step: Annotated[float, Ge(0.05), Le(1.0)] = 1.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.nonzeros > self.m:
            raise ValueError(f"nonzeros={self.nonzeros} exceeds m={self.m}; lower it or raise m")
        return self


def planted(p: Planted, stream) -> dict[str, np.ndarray]:
    """Dictionary, rows Y = A* D^T + r with D^T r = lam on the support and below lam off it, and A*."""
    rng = stream.numpy("planted")
    r = np.linalg.qr(rng.standard_normal((p.d, p.d)))[0][:, 0]  # one direction for the residuals of all rows
    support = np.arange(p.m) < p.nonzeros
    target = np.where(support, p.lam, p.lam * rng.uniform(-1, 0.9, p.m))  # r . D_j
    D = rng.standard_normal((p.d, p.m)) / np.sqrt(p.d)
    D += np.outer(r, target - r @ D)
    A = np.where(support, rng.uniform(0.5, 2.0, (p.n, p.m)), 0.0)
    return {"D": D, "Y": A @ D.T + r, "best": A}


COUNTS = np.array([1, 2, 5, 10, 30, 100])


@measurement
def gaps(p: Planted, data, stream, *, factor: float = 1.0):
    """Gap of F after 1 to 100 steps from zero, over ``|A*|²``-bound; `factor` multiplies the step."""
    Y, D, best = data["Y"], data["D"], data["best"]
    eta = factor * p.reduced_step / curvature(data)
    A, found = np.zeros_like(best), []
    for t in range(1, COUNTS[-1] + 1):
        A = white_box.ista_step(A, Y, D, eta=eta, lam=p.lam)
        if t in COUNTS:
            # F(A) - F(A*) without cancellation: slope at the minimiser, plus the quadratic
            slope = (best @ D.T - Y) @ D + p.lam
            found.append(np.sum(slope * (A - best)) + 0.5 * np.sum(((A - best) @ D.T) ** 2))
    return {"gap": np.array(found) / (0.5 * curvature(data) * (np.sum(best**2) + 1e-3))}


def relative_bound(p: Planted, data, *, lipschitz: bool = False) -> np.ndarray:
    """The bound in the same units; `lipschitz` writes L for 1/eta."""
    eta = (1.0 if lipschitz else p.reduced_step) / curvature(data)
    bound = theory.gap_bound(np.linalg.norm(data["best"]), eta, COUNTS)
    return bound / (0.5 * curvature(data) * (np.sum(data["best"] ** 2) + 1e-3))


def gap_units(p: Planted, data) -> float:
    """slopes off by 8 (n m + d) epsilons of lam + L |A*| + |Y D|, times |A*|, in units of L (|A*|² + 1e-3)/2"""
    L, size = curvature(data), float(np.linalg.norm(data["best"])) + 1.0
    unit = 0.5 * L * (float(np.sum(data["best"] ** 2)) + 1e-3)
    slope = p.lam * p.m + L * size + float(np.linalg.norm(data["Y"] @ data["D"]))
    return 16 * (p.n * p.m + p.d) * slope * size / unit


ISTA_GAP = Law(
    id="crate/ista-gap",
    source=Source(BT09, "theorem 3.1, for any step eta <= 1/L"),
    statement="""
    After T steps of eta <= 1/L from A_0 >= 0 the gap is F(A_T) - F* <= |A_0 - A*|²/(2 eta T). With L in place of
    1/eta this holds at eta = 1/L only. Measured on problems with a planted minimiser (optimality conditions met by
    construction).
    """,
    params=Planted,
    situation=planted,
    predict=relative_bound,
    measure=gaps,
    claim=Bound(of="gap", side="upper", rounding=gap_units, scale=1.0),
    controls={
        "L for 1/eta": but(predict=partial(relative_bound, lipschitz=True)),
        "steps beyond 2/L": but(measure=partial(gaps, factor=2.3)),
    },
    examples=(Planted(reduced_step=0.2), Planted(), Planted(n=1, d=2, m=1, nonzeros=1, reduced_step=0.05)),
    draws=Draws(shapes=12, values=6),
)


# ---------------------------------------------------------------------- orthogonal dictionary


class Square(Params):
    """A square orthogonal dictionary, rows and a start of any sign."""

    n: Annotated[int, Ge(1), Le(6)] = 3
    d: Annotated[int, Ge(1), Le(16)] = 6
    lam: Annotated[float, Ge(0.0), Le(2.0)] = 0.3


def square(p: Square, stream) -> dict[str, np.ndarray]:
    rng = stream.numpy("square")
    return {"D": haar(rng, p.d), "Y": rng.standard_normal((p.n, p.d)), "A": 3 * rng.standard_normal((p.n, p.d))}


@measurement
def one_step(p: Square, data, stream, *, eta: float = 1.0, stretch: float = 1.0):
    """Codes after one step from a random start, and those of a solver for nonnegative least squares.

    `stretch` multiplies the dictionary.
    """
    from scipy.optimize import nnls

    Y, D = data["Y"], stretch * data["D"]
    step = white_box.ista_step(data["A"], Y, D, eta=eta, lam=p.lam)
    # the penalty is linear on A >= 0: least squares to rows shifted by lam D^-T 1
    shift = np.linalg.solve(D.T, np.full(p.d, p.lam))
    solved = np.stack([nnls(D, row - shift)[0] for row in Y])
    return {"codes": np.stack([step, solved])}


def shrunk(p: Square, data, *, sign: float = -1.0) -> np.ndarray:
    """The closed form, for the step and for the solver."""
    return np.stack([theory.orthogonal_codes(data["Y"], data["D"], p.lam, sign=sign)] * 2)


def square_units(p: Square) -> float:
    """inner products of length d of entries up to 5, before and after the start's own, and a solve of condition 1"""
    return 64 * p.d * (8 + p.lam)


ISTA_ORTHOGONAL = Law(
    id="crate/ista-orthogonal",
    source=Source(DERIVED),
    statement="""
    Square orthogonal dictionary: one step of eta = 1 gives max(Y D - lam, 0) from any start, of any sign, and that is
    the exact minimiser of F over A >= 0.
    """,
    params=Square,
    situation=square,
    predict=shrunk,
    measure=one_step,
    claim=Equality(of="codes", rounding=square_units, scale=1.0, resolve=1e-6),
    controls={
        "eta = .9": but(measure=partial(one_step, eta=0.9)),
        "dictionary not orthonormal": but(measure=partial(one_step, stretch=1.2)),
        "+ lam": but(predict=partial(shrunk, sign=1.0)),
    },
    examples=(Square(), Square(lam=0.0), Square(d=16, lam=1.0)),
    draws=Draws(shapes=8, values=6),
)  # fmt: skip

ISTA_SIGN_PRINTED = ISTA_ORTHOGONAL.printed(
    "crate/ista-sign-printed",
    source=Source(BOOK, "chapter on applications, ISTA block"),
    statement="""
    Printed in the chapter on applications: the shrinkage adds beta lam, where the theory chapter and the code subtract
    it. With the plus sign the step pushes codes away from zero: for an orthogonal dictionary it gives max(Y D + lam, 0)
    instead of the minimiser max(Y D - lam, 0).
    """,
    predict=partial(shrunk, sign=1.0),
    at=(Square(n=1, d=1, lam=0.3), Square()),
)
