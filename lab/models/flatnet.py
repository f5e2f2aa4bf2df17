r"""FlatNet: a surface is flattened layer by layer, each pushing a neighbourhood onto its tangent space.

Every layer picks a random sample, fits a tangent frame and a quadratic model around it, chooses a radius and a height
by the error of that model, and is followed by centring and division (`lab.models.flattening_layers`). The encoder has
an exact inverse in float64, which amplifies errors by the product of ``scale/(1 - k)``; the published decoder does not
amplify but does not invert; the hybrid one is exact as long as rounding errors stay below a tolerance.

Two choices of the kernel's centre: the published local mean, which lies off the surface and adds the opposite of its
mean curvature, and the sample itself, which does not (flatnet/curvature-contraction).

Differences from the published code: the input is centred and divided by its largest norm too, so that radii keep their
meaning from the first layer to the last; local weighted PCA with a few alternating steps for the frame, in place of a
Riemannian optimiser; the kernel of the decoder by Newton steps, in place of a secant; float64; no joint training of all
quadratic models at the end. Samples are rows.

References
----------
.. [1] arXiv:2305.01777, Psenka, Pai, Raman, Sastry, Ma 2023.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

import numpy as np

from lab import checks
from lab.errors import InputError
from lab.models import flattening_layers as maps
from lab.models.flattening_layers import Layer

__all__ = ["DECODERS", "NEGLIGIBLE", "FlatNet", "Patch", "fit_patch", "flatness", "least_distance_ratio",
           "turning_points"]  # fmt: skip

Decoder = Literal["exact", "quadratic", "hybrid"]
DECODERS: tuple[Decoder, ...] = ("exact", "quadratic", "hybrid")
NEGLIGIBLE = 1e-6
"""Samples of smaller weight do not enter a fit."""


class Patch(NamedTuple):
    """A fitted neighbourhood: centre, frame and quadratic model; half the mean squared entry of the weighted error of
    the model, and its largest norm over samples; how many samples it was fitted to.
    """

    centre: np.ndarray
    frame: np.ndarray
    model: np.ndarray
    gamma: float
    loss: float
    worst: float
    points: int


def fit_patch(
    Z: np.ndarray, sample: np.ndarray, d: int, radius: float, *, centre: Literal["mean", "sample"] = "sample",
    refinements: int = 3,
) -> Patch:  # fmt: skip
    r"""Tangent frame U and quadratic model V of the samples Z (n, D) around one of them.

    Minimises :math:`\sum_i w_i^2|P(z_i-z_c)-Vq(U^\top(z_i-z_c))|^2`, :math:`w=e^{-\gamma|z-\mu|^2}`,
    :math:`\gamma=\ln 2/r^2`: the frame by weighted PCA, then alternating with the model.

    Parameters
    ----------
    sample : array, shape (D,)
        z_c.
    d : int
        Tangent dimension.
    radius : float, > 0
        r, at which the kernel has half its height.
    centre : "mean" or "sample"
        Of the kernel: the published mean of the samples weighted about z_c, or z_c.
    """
    gamma = math.log(2) / radius**2
    mu = sample
    if centre == "mean":
        weight = np.exp(-gamma * np.sum((Z - sample) ** 2, axis=1))
        mu = weight @ Z / weight.sum()
    weight = np.exp(-gamma * np.sum((Z - mu) ** 2, axis=1))
    near = weight > NEGLIGIBLE
    weight, relative = weight[near, None], Z[near] - sample
    middle = np.sum(weight**2 * relative, axis=0) / np.sum(weight**2)
    frame = _leading(weight * (relative - middle), d)
    for step in range(refinements + 1):
        coordinates = relative @ frame
        normal = relative - coordinates @ frame.T
        q = maps.quadratic_monomials(coordinates)
        model = np.linalg.lstsq(weight * q, weight * normal, rcond=1e-4)[0].T
        if step < refinements:
            frame = _leading(weight * (relative - q @ model.T), d)
    error = weight * (normal - q @ model.T)
    worst = float(np.sqrt(np.max(np.sum(error**2, axis=1))))
    return Patch(mu, frame, model, gamma, float(0.5 * np.mean(error**2)), worst, int(near.sum()))


def _leading(rows: np.ndarray, d: int) -> np.ndarray:
    """The d leading right singular vectors (D, d)."""
    return np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :d]


@dataclass
class FlatNet:
    """Flattening network with the interface of scikit-learn: `fit`, `transform`, `inverse_transform`.

    Parameters
    ----------
    dimension : int, optional
        d of every layer; by default estimated in each, by the published rule: the least for which the quadratic model
        misses no sample within the checking radius, .15 diameters, by more than .3 of it.
    layers : int
        Layers tried at most; one that moves points by less than 1e-4 (rms per entry) is dropped, and ten in a row at
        the largest radius end the fit.
    radius : float, optional
        In diameters of the input; by default one secant step on the logarithm of the loss towards `threshold`, clipped
        to [.15, 1.1].
    height : float in (0, 1)
        Largest alpha; it is ``sqrt(threshold/loss)`` where that is less.
    threshold : float, > 0
        Loss that the model of a layer should have at most.
    centre : "sample" or "mean"
        Of the kernel; "mean" is the published one.
    seed : int

    Attributes
    ----------
    layers_ : list of Layer
    patches_ : list of Patch
        The fit behind each layer.
    shift_, scale_
        Mean and largest norm of the samples fitted: the input is centred and divided first.
    dimension_ : int
        Most frequent dimension of the layers.

    Examples
    --------
    >>> from lab.data.flattening import arc
    >>> X = arc(60).X
    >>> net = FlatNet(dimension=1, layers=60, radius=0.36).fit(X)
    >>> Z = net.transform(X)
    >>> bool(flatness(Z, 1) < flatness(X, 1)), bool(np.abs(net.inverse_transform(Z) - X).max() < 1e-9)
    (True, True)
    """

    dimension: int | None = None
    layers: int = 100
    radius: float | None = None
    height: float = 0.5
    threshold: float = 1e-5
    centre: Literal["sample", "mean"] = "sample"
    seed: int = 0
    layers_: list[Layer] = field(default_factory=list, repr=False)
    patches_: list[Patch] = field(default_factory=list, repr=False)
    shift_: np.ndarray | float = field(default=0.0, repr=False)
    scale_: float = field(default=1.0, repr=False)

    CHECK = 0.15
    CHECK_ERROR = 0.3
    NARROWEST, WIDEST = 0.15, 1.1
    PATIENCE, PROGRESS = 10, 1e-4

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Fit the layers to samples X (n, D); `y` is ignored.

        Raises
        ------
        InputError
            For too few, equal or non-finite samples, or a parameter outside its range.
        """
        X = self._samples(X)
        Z, self.shift_, self.scale_ = _normalised(X)
        rng = np.random.default_rng(self.seed)
        diameter = _diameter(Z)
        self.layers_, self.patches_ = [], []
        idle, d = 0, self.dimension or 1
        for _ in range(self.layers):
            sample = Z[rng.integers(len(Z))].copy()
            checked = None
            if self.dimension is None:
                d, checked = self._find_dimension(Z, sample, d, diameter)
            radius = self._radius(Z, sample, d, diameter, checked)
            patch = fit_patch(Z, sample, d, radius, centre=self.centre)
            alpha = self.height if patch.loss == 0 else min(self.height, math.sqrt(self.threshold / patch.loss))
            layer = Layer(patch.centre, patch.frame, patch.gamma, alpha, sample, patch.model, np.zeros(Z.shape[1]), 1.0)
            moved = maps.encode(Z, layer)
            moved, shift, scale = _normalised(moved)
            if math.sqrt(np.mean((moved - Z) ** 2)) < self.PROGRESS:
                idle = idle + 1 if radius >= self.WIDEST * diameter else 0
                if idle == self.PATIENCE:
                    break
                continue
            idle, Z = 0, moved
            self.layers_.append(layer._replace(shift=shift, scale=scale))
            self.patches_.append(patch)
        return self

    def path(self, X: np.ndarray) -> Iterator[np.ndarray]:
        """X (n, D), centred and divided by the largest norm of the samples fitted; then what each layer makes of it."""
        layers = self._fitted()
        Z = (np.asarray(X, dtype=float) - self.shift_) / self.scale_
        yield Z
        for layer in layers:
            Z = maps.encode(Z, layer)
            yield Z

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Flattened samples (n, D)."""
        return deque(self.path(X), maxlen=1)[0]

    def fit_transform(self, X: np.ndarray, y: None = None) -> np.ndarray:
        """`fit`, then `transform`, of the same samples."""
        return self.fit(X, y).transform(X)

    def inverse_transform(self, Z: np.ndarray, decoder: Decoder = "exact", *, tolerance: float = 1e-2) -> np.ndarray:
        """Samples (n, D) from flattened ones.

        Parameters
        ----------
        decoder : "exact", "quadratic" or "hybrid"
            The inverse; the published decoder, its kernel solved exactly; or exact for each sample until the estimate
            of its rounding error exceeds `tolerance`, quadratic from there on.
        tolerance : float, > 0
            Absolute, for samples of largest norm 1.
        """
        if decoder not in DECODERS:
            raise InputError(f"decoder={decoder!r} must be one of {', '.join(DECODERS)}")
        X = np.asarray(Z, dtype=float)
        error = np.zeros((len(X), 1))
        for layer in reversed(self._fitted()):
            if decoder == "exact":
                X = maps.decode_exact(X, layer)
            elif decoder == "quadratic":
                X = maps.decode_quadratic(X, layer)
            else:
                exact = maps.decode_exact(X, layer)
                error = _amplified(error, exact, layer)
                trusted = error <= tolerance
                X = np.asarray(np.where(trusted, exact, maps.decode_quadratic(X, layer)))
                error = np.where(trusted, error, np.inf)
        return X * self.scale_ + self.shift_

    def amplification(self, X: np.ndarray) -> np.ndarray:
        """Product over layers of ``scale/(1 - k)`` at samples X, shape (n,), in the units of X: by how much exact
        decoding of their images amplifies an error normal to every layer. An estimate: `amplification_bound` bounds.
        """
        factors = np.full(len(X), self.scale_)
        for Z, layer in zip(self.path(X), self._fitted(), strict=False):
            factors = factors * layer.scale / (1 - maps.kernel(Z, layer)[:, 0])
        return factors

    @property
    def amplification_bound(self) -> float:
        """Product of ``scale/(1 - alpha)``: no error of the code is amplified by more."""
        return self.scale_ * math.prod(layer.scale / (1 - layer.alpha) for layer in self._fitted())

    @property
    def dimension_(self) -> int:
        return int(np.argmax(np.bincount([layer.frame.shape[1] for layer in self._fitted()])))

    def _fitted(self) -> list[Layer]:
        if not self.layers_:
            raise InputError("this FlatNet has no layers; call fit(X) first (or X was flat from the start)")
        return self.layers_

    def _samples(self, X: np.ndarray) -> np.ndarray:
        checks.integer("layers", self.layers, 1)
        checks.fraction("height", self.height)
        checks.positive("threshold", self.threshold)
        if self.radius is not None:
            checks.positive("radius", self.radius)
        if self.centre not in ("sample", "mean"):
            raise InputError(f'centre={self.centre!r} must be "sample" or "mean"')
        X = np.asarray(X, dtype=float)
        if X.ndim != 2 or len(X) < 3 or X.shape[1] < 2:
            raise InputError(f"X has shape {X.shape}; it must be (n, D) with n >= 3 and D >= 2")
        if not np.isfinite(X).all() or not np.ptp(X, axis=0).any():
            raise InputError("X has an entry that is not finite, or all its samples are equal")
        if self.dimension is not None and not 1 <= self.dimension < X.shape[1]:
            raise InputError(f"dimension={self.dimension} must lie between 1 and D - 1 = {X.shape[1] - 1}")
        return X

    def _find_dimension(self, Z: np.ndarray, sample: np.ndarray, d: int, diameter: float) -> tuple[int, Patch]:
        """From the previous d: down while the model is still good enough, or up until it is."""
        radius = self.CHECK * diameter

        def tried(d: int) -> tuple[Patch, bool]:
            patch = fit_patch(Z, sample, d, radius, centre=self.centre)
            return patch, patch.worst <= self.CHECK_ERROR * radius

        patch, good = tried(d)
        while not good and d < Z.shape[1] - 1:
            d += 1
            patch, good = tried(d)
            if good:
                return d, patch
        while good and d > 1:
            smaller, good = tried(d - 1)
            if good:
                d, patch = d - 1, smaller
        return d, patch

    def _radius(self, Z: np.ndarray, sample: np.ndarray, d: int, diameter: float, checked: Patch | None) -> float:
        """The given one; or one secant step on the logarithm of the loss over the threshold."""
        if self.radius is not None:
            return self.radius * diameter
        low, high = self.NARROWEST * diameter, self.WIDEST * diameter
        first, second = self.CHECK * diameter, (low + high) / 2
        if checked is None:
            checked = fit_patch(Z, sample, d, first, centre=self.centre)
        middle = fit_patch(Z, sample, d, second, centre=self.centre)
        f_first, f_second = (math.log(max(p.loss, 1e-300) / self.threshold) for p in (checked, middle))
        slope = f_second - f_first
        slope = math.copysign(max(abs(slope), 1e-6), slope)
        return min(max(second - (second - first) / slope * f_second, low), high)


def _amplified(error: np.ndarray, X: np.ndarray, layer: Layer) -> np.ndarray:
    """Rounding error (n, 1) of samples X decoded through one more layer, from that of their code."""
    own = float(np.finfo(float).eps) * np.sqrt(np.sum(X**2, axis=1, keepdims=True))
    return layer.scale * error / (1 - maps.kernel(X, layer)) + own


def _normalised(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Samples centred and divided by their largest norm; the centre and the norm."""
    shift = X.mean(axis=0)
    scale = float(np.max(np.linalg.norm(X - shift, axis=1)))
    return (X - shift) / scale, shift, scale


def _diameter(X: np.ndarray) -> float:
    """Largest distance between two rows."""
    from scipy.spatial.distance import pdist

    return float(np.max(pdist(X)))


# ---------------------------------------------------------------------- how flat, how faithful


def flatness(Z: np.ndarray, d: int) -> float:
    """Singular value d + 1 of the centred samples (n, D) over the first: 0 for a d-dimensional affine subspace."""
    d = checks.integer("d", d, 1)
    values = np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False)
    return float(values[d] / values[0]) if d < len(values) else 0.0


def turning_points(Z: np.ndarray, closed: bool) -> int:
    """Turning points of the leading principal coordinate along a curve whose samples (n, D) come in order.

    A closed curve has two at least, whatever the map; 0 on an open one says that the coordinate is monotone.
    """
    centred = Z - Z.mean(axis=0)
    leading = centred @ _leading(centred, 1)[:, 0]
    steps = np.diff(np.append(leading, leading[0]) if closed else leading)
    signs = np.sign(steps[steps != 0])
    turns = np.sum(signs[1:] != signs[:-1])
    return int(turns + (signs[0] != signs[-1] if closed else 0))


def least_distance_ratio(Z: np.ndarray, X: np.ndarray) -> float:
    """Least ``|z - z'|/|x - x'|`` over pairs of samples, over its median: near 0, distant samples have been merged."""
    from scipy.spatial.distance import pdist

    ratios = pdist(Z) / pdist(X)
    return float(np.min(ratios) / np.median(ratios))
