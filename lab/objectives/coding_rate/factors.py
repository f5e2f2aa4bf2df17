"""One factorisation per Gram matrix, from which values, gradients and Hessian-vector products are read off.

Everything here is about `B = I + beta X^T diag(w) X` for stacked rows `X` of shape (..., m, d) and weights `w` (none:
all one), and its inverse `A`. It is factorised on the smaller side, d x d or m x m:

- `d <= m`: Cholesky of `B` itself;
- `m < d`, no weights: Cholesky of `I + beta X X^T` (same determinant), with `X A = (I + beta X X^T)^{-1} X`;
- `m < d`, weights: LU of `T^{-1} = I + beta X X^T diag(w)`, with `X A = T X`. The symmetric form with `sqrt(w)` would
  allow Cholesky, but its derivative with respect to a weight that is 0 is infinite.
"""

from dataclasses import dataclass
from functools import cached_property

from lab.arrays import Array, cholesky, cholesky_inverse, cholesky_logdet, device, namespace, truth
from lab.errors import InputError


@dataclass(frozen=True, eq=False)
class Factor:
    """Factorised `B = I + beta X^T diag(w) X`; see the module. Leading axes of the fields broadcast.

    Attributes
    ----------
    rows : array, shape (..., m, d)
        `X`.
    beta : float or array, shape (...)
        Scale, > 0.
    weights : array, shape (..., m), or None
        `w`, non-negative; None stands for ones.
    product : array
        `X^T diag(w) X`, `X X^T` or `X X^T diag(w)`, according to the side.
    """

    rows: Array
    beta: Array | float
    weights: Array | None
    product: Array

    @property
    def wide(self) -> bool:
        """Whether rows are fewer than dimensions, so that the m x m side is the smaller one."""
        return self.rows.shape[-2] < self.rows.shape[-1]

    @property
    def _matrix(self) -> Array:
        xp = namespace(self.product)
        eye = xp.eye(self.product.shape[-1], dtype=self.product.dtype, device=device(self.product))
        return eye + expand(self.beta, 2) * self.product

    @cached_property
    def _cholesky(self) -> Array:
        try:
            return cholesky(self._matrix)
        except InputError:
            raise self._too_small_eps() from None

    @property
    def _by_lu(self) -> bool:
        return self.wide and self.weights is not None

    @cached_property
    def logdet(self) -> Array:
        """`log det B`, shape (...)."""
        if self._by_lu:
            xp = namespace(self.rows)
            sign, logabsdet = xp.linalg.slogdet(self._matrix)
            if truth(xp.all(sign > 0)) is False:
                raise self._too_small_eps()
            return logabsdet
        return cholesky_logdet(self._cholesky)

    @cached_property
    def inverse(self) -> Array:
        """`A` if not `wide`; otherwise the m x m matrix `S` with `X A = S X`."""
        if self._by_lu:
            return namespace(self.rows).linalg.inv(self._matrix)
        inverse = cholesky_inverse(self._cholesky)
        return inverse.mT if self.wide else inverse  # transposed: see `cholesky_inverse` on rounding

    @cached_property
    def shrunk(self) -> Array:
        """`X A`, shape (..., m, d)."""
        return self.inverse @ self.rows if self.wide else self.rows @ self.inverse

    def apply(self, E: Array) -> Array:
        """`E A` for other rows `E`, shape (..., m, d)."""
        if not self.wide:
            return E @ self.inverse
        # Woodbury: A = I - beta X^T diag(w) S X.
        return E - expand(self.beta, 2) * ((E @ self._weighted(self.rows).mT) @ self.shrunk)

    def tangent(self, E: Array) -> Array:
        """Derivative of `X A` as `X` moves along `E`: `E A - beta X A D A`, `D = X^T diag(w) E + E^T diag(w) X`."""
        applied = self.apply(E)
        if self.wide:
            across = self.rows @ self._weighted(E).mT  # X E^T diag(w)
            inner = self.inverse @ (self.product @ applied + across @ self.shrunk)
        else:
            across = self.rows.mT @ self._weighted(E)
            inner = self.shrunk @ ((across + across.mT) @ self.inverse)
        return applied - expand(self.beta, 2) * inner

    def _too_small_eps(self) -> InputError:
        # B is positive definite, so only the rounding of a huge multiple of the Gram matrix can hide the identity.
        return InputError(
            f"eps is so small that I + (d / n eps^2) Z^T Z is singular in {self.rows.dtype}; use float64, "
            "a larger eps, or spectral=True for the value"
        )

    def _weighted(self, rows: Array) -> Array:
        return rows if self.weights is None else self.weights[..., None] * rows


def factorise(rows: Array, beta: Array | float, weights: Array | None = None, *, gram: Array | None = None) -> Factor:
    """`Factor` of `I + beta X^T diag(w) X`; `gram` is `X^T X` where the caller already has it (used if d <= m)."""
    if rows.shape[-2] < rows.shape[-1]:
        product = rows @ rows.mT
        if weights is not None:
            product = product * weights[..., None, :]
    elif weights is not None:
        product = rows.mT @ (weights[..., None] * rows)
    else:
        product = rows.mT @ rows if gram is None else gram
    return Factor(rows, beta, weights, product)


def expand(x: Array | float, axes: int) -> Array | float:
    """`x` with `axes` trailing axes of length one; numbers unchanged."""
    return x if isinstance(x, float) else x[(..., *(None,) * axes)]
