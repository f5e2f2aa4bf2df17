r"""Gradient and largest curvature of F at any features, with a direction that has it.

.. math:: F(Z) = \Delta R(Z) - \tfrac\lambda2\|Z\|_F^2

On compressed rows (`features`) the Hessian splits: perturbations of a class inside the range of V_k, and those outside
(only if N_k > d). They do not couple; the latter have the eigenvalues of ``alpha (M^-1 - A_k) - lambda I``, each one
N_k - d times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lab.objectives import coding_rate
from lab.systems.mcr2.certificate.features import Features

__all__ = ["Curvature", "Landscape"]

DENSE = 800  # coordinates up to which the Hessian is diagonalised whole
EFFORT = 5e11  # floating-point operations for the iteration; below 400 products of this many, fewer are made
FLAT = 1e-8  # curvatures up to this, in units of alpha, count as zero


@dataclass(frozen=True, eq=False)
class Curvature:
    """The largest curvature of F and a direction that has it.

    Attributes
    ----------
    value : float
        Rayleigh quotient of `direction` in units of alpha: a lower bound of the largest curvature, whatever the solver.
    residual : float
        Norm of ``H E - value E``, in units of alpha: some eigenvalue lies within it of `value`.
    method : "dense" or "lanczos"
        With "dense" all curvatures are known, and `value` is the largest.
    index : int or None
        Number of curvatures above 1e-8 alpha; None with "lanczos".
    direction : array, shape (N, d)
        Unit norm, rows in the order of the input.
    gain : float
        Nats that F rises by along the direction, at the best of some step lengths.
    step : float
        That step length, signed, in units of ||Z||_F.
    """

    value: float
    residual: float
    method: str
    index: int | None
    direction: np.ndarray
    gain: float
    step: float

    @property
    def escapes(self) -> bool:
        return self.value > FLAT


class Landscape:
    """F around given features: value, gradient, Hessian-vector products, largest curvature."""

    def __init__(self, features: Features, lam: float):
        self.features, self.lam = features, lam
        Y, d = features.Y, features.dim
        self.alpha = features.alpha
        self.own = self.alpha / features.x  # alpha_k
        grams = np.swapaxes(Y, 1, 2) @ Y
        self.M = np.linalg.inv(np.eye(d) + self.alpha * grams.sum(axis=0))
        self.A = np.linalg.inv(np.eye(d) + self.own[:, None, None] * grams)
        self.M, self.A = 0.5 * (self.M + self.M.T), 0.5 * (self.A + np.swapaxes(self.A, 1, 2))

    def gradient(self) -> np.ndarray:
        """Gradient of F in compressed rows (K, r, d)."""
        return self.rate_gradient() - self.lam * self.features.Y

    def rate_gradient(self) -> np.ndarray:
        """Gradient of Delta R in compressed rows (K, r, d)."""
        return self.alpha * (self.features.Y @ (self.M - self.A))

    def criticality(self) -> float:
        """Norm of the gradient over the larger one of its two parts, the rate's and the penalty's: 0 iff critical."""
        rate, penalty = np.linalg.norm(self.rate_gradient()), self.lam * np.linalg.norm(self.features.Y)
        return float(np.linalg.norm(self.gradient()) / max(rate, penalty))

    def hessian_product(self, E: np.ndarray) -> np.ndarray:
        """Hessian of F times E, compressed rows (..., K, r, d), in units of alpha."""
        Y = self.features.Y
        change = np.swapaxes(Y, 1, 2) @ E
        change = change + np.swapaxes(change, -1, -2)
        common = change.sum(axis=-3, keepdims=True)
        whole = E @ self.M - self.alpha * (Y @ self.M) @ common @ self.M
        classes = E @ self.A - self.own[:, None, None] * ((Y @ self.A) @ change @ self.A)
        return whole - classes - self.lam / self.alpha * E

    def curvature(self) -> Curvature:
        """Largest curvature, from the dense Hessian if it is small, else by Lanczos iteration."""
        filled, d = self.features.filled, self.features.dim
        size = int(filled.sum()) * d
        index: int | None = None
        if size <= DENSE:
            values, vectors = np.linalg.eigh(self._dense(size))
            value, vector, method = float(values[-1]), vectors[:, -1], "dense"
            index = int(np.sum(values > FLAT))
        else:
            value, vector = self._lanczos(size)
            method = "lanczos"
        E = self._unpack(vector / np.linalg.norm(vector))
        outside = self._outside()
        if outside is not None:
            if index is not None:
                index += outside[2]
            if outside[0] > value + FLAT:
                return self._along(outside[0], 0.0, method, index, outside[1])
        product = self.hessian_product(E)
        value = float(np.sum(E * product))
        return self._along(value, float(np.linalg.norm(product - value * E)), method, index, self.features.expand(E))

    def _unpack(self, vectors: np.ndarray) -> np.ndarray:
        """Coordinates (..., size) as compressed rows (..., K, r, d)."""
        f = self.features
        rows = np.zeros((*vectors.shape[:-1], *f.filled.shape, f.dim))
        rows[..., f.filled, :] = vectors.reshape(*vectors.shape[:-1], -1, f.dim)
        return rows

    def _dense(self, size: int) -> np.ndarray:
        columns = []
        for start in range(0, size, 256):  # products of a few directions at a time: K r d times as much memory
            E = self._unpack(np.eye(min(256, size - start), size, start))
            columns.append(self.hessian_product(E)[:, self.features.filled, :].reshape(len(E), -1))
        matrix = np.concatenate(columns)
        return 0.5 * (matrix + matrix.T)

    def _lanczos(self, size: int) -> tuple[float, np.ndarray]:
        """Top eigenvalue and vector by restarted Lanczos iteration; where it is costly or fails, a few conjugate steps.

        Either way the quotient of the vector is a lower bound, and its residual is reported.
        """
        from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

        def product(vector):
            return self.hessian_product(self._unpack(vector.reshape(-1)))[self.features.filled, :].reshape(-1)

        start = np.random.default_rng(0).standard_normal(size)
        steps = int(np.clip(EFFORT / (12 * self.features.Y.size * self.features.dim), 20, 400))
        if steps == 400:
            operator = LinearOperator((size, size), matvec=product, dtype=float)
            try:
                values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=1e-5, ncv=24, maxiter=40)
                return float(values[-1]), vectors[:, -1]
            except ArpackNoConvergence:
                pass
        return _climb(product, start, steps)

    def _outside(self) -> tuple[float, np.ndarray, int] | None:
        """Largest curvature outside the ranges of the V_k, its direction, and how many such curvatures escape."""
        f = self.features
        sizes = np.array(f.sizes)
        classes = np.flatnonzero(sizes > f.dim)
        if classes.size == 0:
            return None
        values, vectors = np.linalg.eigh(self.M - self.A[classes])
        values = values - self.lam / self.alpha
        count = int(np.sum((sizes[classes] - f.dim) * np.sum(values > FLAT, axis=1)))
        best = int(np.argmax(values[:, -1]))
        k = int(classes[best])
        V = f.left[k]
        spare = int(np.argmin(np.sum(V * V, axis=1)))  # the sample that the range of V_k knows least of
        a = -V @ V[spare]
        a[spare] += 1
        E = np.zeros_like(f.Z)
        E[sum(f.sizes[:k]) : sum(f.sizes[: k + 1])] = np.outer(a / np.linalg.norm(a), vectors[best, :, -1])
        return float(values[best, -1]), f.in_order(E), count

    def value(self, Z: np.ndarray) -> float:
        """F of other features with these labels, rows sorted by class."""
        f = self.features
        return float(coding_rate.regularised_rate_reduction(Z, f.sizes, eps=f.eps, lam=self.lam))

    def _along(self, value: float, residual: float, method: str, index: int | None, E: np.ndarray) -> Curvature:
        """The result, with a line search along E (rows in the order of the input)."""
        f = self.features
        scale, gain, step = float(np.linalg.norm(f.Z)), 0.0, 0.0
        if value > FLAT:
            here, sorted_E = self.value(f.Z), E[f.order]
            for signed in (sign * length for length in 2.0 ** np.arange(-7, 0.5, 0.5) for sign in (1, -1)):
                rise = self.value(f.Z + signed * scale * sorted_E) - here
                gain, step = (rise, signed) if rise > gain else (gain, step)
        return Curvature(value, residual, method, index, E, gain, step)


def _climb(product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    """Locally optimal conjugate ascent of the Rayleigh quotient: best in the span of vector, residual and last move."""
    x = start / np.linalg.norm(start)
    S, HS = [x], [product(x)]  # vector, residual, last move, and their products: one new product per step
    value = float(x @ HS[0])
    for _ in range(steps):
        residual = HS[0] - value * S[0]
        norm = np.linalg.norm(residual)
        if norm <= 1e-6:
            break
        S.insert(1, residual / norm)
        HS.insert(1, product(S[1]))
        inner = np.array([[p @ q for q in S] for p in S])
        mixed = np.array([[p @ q for q in HS] for p in S])
        values, axes = np.linalg.eigh(inner)
        axes = axes[:, values > 1e-12 * values[-1]] / np.sqrt(values[values > 1e-12 * values[-1]])
        mix = axes @ np.linalg.eigh(axes.T @ (mixed + mixed.T) @ axes)[1][:, -1]
        move, pushed = (sum(m * p for m, p in zip(mix[1:], part[1:], strict=True)) for part in (S, HS))
        x, Hx = mix[0] * S[0] + move, mix[0] * HS[0] + pushed
        scale, length = np.linalg.norm(x), max(float(np.linalg.norm(move)), 1e-300)
        S, HS = [x / scale, move / length], [Hx / scale, pushed / length]
        value = float(S[0] @ HS[0])
    return value, S[0]
