"""The nearest map that keeps the energies of the classes: K multipliers instead of a cone program."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.feasible_sets import class_energies, project_class_energies
from lab.params import Ge, Le, LogScale, Params
from lab.systems.ctrl import theory

PASSES = 60


class Infeasible(Params):
    """A Gaussian map of scale `scale`, and Gaussian classes of n_j = `samples` samples in d_x dimensions."""

    classes: Annotated[int, Ge(1), Le(3)] = 2
    d_z: Annotated[int, Ge(1), Le(3)] = 2
    d_x: Annotated[int, Ge(1), Le(4)] = 3
    samples: Annotated[int, Ge(1), Le(8)] = 4
    scale: Annotated[float, Ge(0.2), Le(5.0), LogScale()] = 2.0

    @model_validator(mode="after")
    def _some_freedom(self) -> Self:
        if self.d_x == self.d_z == 1 and self.classes > 1:
            raise ValueError("in one dimension all constraints but one are idle; raise d_x or d_z")
        return self


def map_and_moments(p: Infeasible, stream) -> dict[str, np.ndarray]:
    """F (d_z, d_x) and C (K, d_x, d_x)."""
    rng = stream.numpy("map")
    X = rng.standard_normal((p.classes, p.samples, p.d_x))
    return {"F": p.scale * rng.standard_normal((p.d_z, p.d_x)), "C": X.mT @ X / p.samples}


def conditions(A: np.ndarray, price: np.ndarray, F: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stationarity of ``|A - F|²/2 + sum price_j (tr(A C_j A^T) - 1)/2`` in A, and the bounds; and their Jacobian."""
    pulls = A @ C
    slope = (A - F + np.tensordot(price, pulls, 1)).ravel()
    curvature = np.kron(np.eye(len(A)), np.eye(A.shape[1]) + np.tensordot(price, C, 1))
    edges = pulls.reshape(len(C), A.size)
    whole = np.block([[curvature, edges.T], [edges, np.zeros((len(C), len(C)))]])
    return np.concatenate([slope, (class_energies(A, C) - 1) / 2]), whole


@measurement
def nearest_by_search(p: Infeasible, data, stream, *, total: bool = False):
    """The nearest feasible map by the method of multipliers, quasi-Newton minimisation of the augmented Lagrangian over
    the map itself, then Newton's method for the optimality conditions of the bounds that it finds active. `total`
    bounds the mean energy of all classes instead of each."""
    from scipy.optimize import minimize

    F, C = data["F"], data["C"]
    C = C.mean(axis=0, keepdims=True) if total else C
    price, weight, A = np.zeros(len(C)), 4.0, F

    for _ in range(PASSES):

        def lagrangian(x: np.ndarray, price: np.ndarray = price, weight: float = weight):
            A = x.reshape(F.shape)
            active = np.maximum(price + weight * (class_energies(A, C) - 1), 0)
            value = np.sum((A - F) ** 2) / 2 + np.sum(active**2 - price**2) / (4 * weight)
            return value, (A - F + np.tensordot(active, A @ C, 1)).ravel()

        A = minimize(lagrangian, A.ravel(), jac=True, method="BFGS", options={"gtol": 1e-8}).x.reshape(F.shape)
        before, price = price, np.maximum(price + weight * (class_energies(A, C) - 1), 0)
        if np.max(np.abs(price - before)) <= 1e-6 * weight:
            break
        weight = min(2 * weight, 1e3)
    held = price > 0
    for _ in range(5):
        wrong, whole = conditions(A, price[held], F, C[held])
        step = np.linalg.solve(whole, wrong)
        A, price[held] = A - step[: A.size].reshape(A.shape), price[held] - step[A.size :]
    return {"map": A}


def predicted_map(p: Infeasible, data) -> np.ndarray:
    """F (I + sum lambda_j C_j)^-1 at the multipliers of the dual problem."""
    return theory.nearest_feasible(data["F"], data["C"], project_class_energies(data["F"], data["C"]).multipliers)


def one_multiplier_less(p: Infeasible, data) -> np.ndarray:
    """The same without the largest multiplier."""
    lam = project_class_energies(data["F"], data["C"]).multipliers
    return theory.nearest_feasible(data["F"], data["C"], np.where(lam == lam.max(), 0.0, lam))


def newton_rounding(p: Infeasible, data) -> float:
    """Newton's method ends at the rounding of the optimality conditions, d_z d_x + K of them, each a sum of d_x + K
    terms no larger than (1 + sum lambda |C|)|F'| + |F|, times the norm of the inverse of their Jacobian; the
    multipliers that the prediction is made with solve the same conditions"""
    F, C = data["F"], data["C"]
    found = project_class_energies(F, C)
    held = found.multipliers > 0
    whole = conditions(found.map, found.multipliers[held], F, C[held])[1]
    term = (1 + found.multipliers @ np.linalg.norm(C, axis=(1, 2))) * np.linalg.norm(found.map) + np.linalg.norm(F)
    return 8 * (p.d_x + p.classes) * float(np.linalg.norm(np.linalg.inv(whole), 2) * term)


PROJECTION = Law(
    id="ctrl/feasible-set-projection",
    source=Source("derived for this laboratory; the problem is that of arXiv:2206.09120"),
    statement="""
    The map nearest to F with ||F' X_j^T||_F^2 <= n_j for all j is F (I + sum_j lambda_j C_j)^-1, C_j = X_j^T X_j/n_j,
    where the multipliers lambda >= 0 minimise tr(F (I + sum_j lambda_j C_j)^-1 F^T) + sum_j lambda_j, a convex function
    of K variables. Measured by a search over the map itself.
    """,
    params=Infeasible,
    situation=map_and_moments,
    predict=predicted_map,
    measure=nearest_by_search,
    claim=Equality(of="map", rounding=newton_rounding, scale=lambda p, data: np.linalg.norm(data["F"]), resolve=1e-6),
    controls={
        "mean energy bounded": but(measure=partial(nearest_by_search, total=True)),
        "largest multiplier left out": but(predict=one_multiplier_less),
        "energies rescaled together": but(
            predict=lambda p, data: data["F"] / np.sqrt(max(1.0, class_energies(data["F"], data["C"]).max()))
        ),
    },
    examples=(Infeasible(), Infeasible(classes=3, d_z=3, d_x=4, scale=4.0), Infeasible(scale=0.2)),
    draws=Draws(shapes=4, values=2),
)
