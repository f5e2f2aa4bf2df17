r"""Exact average losses of memorising and partially memorising denoisers, by one-dimensional Fourier integrals.

A partial memoriser is the posterior mean for the empirical measure on M random training points. If clusters are far
apart only the points of the sample's own cluster count, each of which is among the M with probability :math:`\pi=1/K`.
Everything below is for one cluster of variance 1 centred at 0; variance enters by scale covariance,
:math:`L(\psi,v)=v\,L(\psi v,1)`.

Write :math:`y=\sqrt\psi\,x+z`, and for a point x_j the energy :math:`t_j=|y-\sqrt\psi x_j|^2/2` and weight
:math:`w_j=e^{-t_j}`. With :math:`1/S^2=\int_0^\infty u\,e^{-uS}du` for the sum S of weights, averages of products of
posterior probabilities :math:`p_j=w_j/S` factorise over points, and with :math:`u=e^s`

.. math:: E\,p_ip_jF_iF_j=\int ds\,A^F(s)^2\,\varphi(s)^{n-2},\quad E\,p_iF_i=\int ds\,A^F\varphi^{n-1},\quad
          E\,p_i^2F_i=\int ds\,B^F\varphi^{n-1}

where, given y, A^F is the F-weighted density of :math:`t+\log\mathcal E_1` (a standard exponential variable), B^F that
of :math:`t+\log\Gamma_2`, and :math:`\varphi` the chance that :math:`t+\log\mathcal E_1>s`. Given :math:`\rho=|y|` the
energy is half a noncentral chi-square variable, so their Fourier transforms are elementary times
:math:`\Gamma(1+i\omega)`; a fast Fourier transform gives them on a grid where sums are spectrally accurate. The number
of points in the cluster is binomial: :math:`E\,n\varphi^{n-1}=M\pi(1-\pi+\pi\varphi)^{M-1}` and so on, at no further
cost and for real M. The average over :math:`\rho^2=(1+\psi)\chi^2_d` is a Gauss rule. Relative accuracy about 1e-9
or better.

Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.memorization.theory.losses import gauss_chi_square, generaliser_loss, two_sample_loss

__all__ = ["Losses", "effective_constant", "exact_losses", "new_point_loss", "recall", "training_point_loss"]

_CUT = 32.0  # Fourier modes below e^-32 of the largest are left out
_TAIL = 32.0  # t + log E has the left tail e^s
_FLOOR = 1e-13  # absolute error of a survival function from the fast Fourier transform
_PAIRS = 1e-10  # chance of a confusion below which the pairs are all that matters
_BUDGET = 2e7  # points of all grids together: several seconds


class Losses(NamedTuple):
    """Average x0-losses on the training points; `partial` has one value per model size.

    Attributes
    ----------
    generaliser, memoriser, partial : float, float, array
        Losses of the three denoisers.
    generaliser_excess, partial_excess : float, array
        Their differences to the memoriser's loss.
    """

    generaliser: float
    memoriser: float
    partial: Any
    generaliser_excess: float
    partial_excess: Any


def new_point_loss(d: int, count, psi: float, v: float = 1.0, *, share: float = 1.0):
    r"""Loss, at a new point of the cluster, of the memorising denoiser of other points of that cluster.

    .. math:: l_{new}=\frac{dv}{1+\psi v}+E\Bigl[\bigl(\sum p_ja_j-\kappa\rho\bigr)^2+\sum p_j^2b_j\Bigr],\qquad
              \kappa=\frac{\sqrt\psi v}{1+\psi v}

    with :math:`a_j` the component of x_j along y and b_j the squared rest. It is 2 d v for one point, d v for
    infinitely many at :math:`\psi=0`, and tends to :math:`dvC_\infty(d,n)` (`transition.nearest_constant`) as psi
    grows.

    Parameters
    ----------
    d : int, >= 1
    count : array_like, >= 1
        Points of the denoiser; each lies in the cluster with probability `share`. Need not be whole.
    psi : float, > 0
    v : float, > 0
    share : float, in (0, 1]
        1/K. If no point lies in the cluster the denoiser is taken to give the cluster's centre, a loss of d v.

    Raises
    ------
    OutOfDomain
        Also if psi v is so large, in few dimensions, that the grid would take minutes: there use `nearest_constant`.

    Examples
    --------
    >>> round(float(new_point_loss(30, 1, 0.7)), 9)
    60.0
    """
    d, counts, snr, v, share = _checked(d, count, psi, v, share)
    values = v * np.array(_new(d, counts, snr, share))
    return values.reshape(np.shape(count))[()]


def training_point_loss(d: int, count, psi: float, v: float = 1.0, *, share: float = 1.0):
    r"""Loss of the memorising denoiser at one of its own points: :math:`l_{mem}=E\sum_{i<j}p_ip_j|x_i-x_j|^2`.

    Arguments as in `new_point_loss`; the point itself lies in the cluster, each of the other count - 1 with probability
    `share`. A sum of positive terms, so small losses keep their relative accuracy; where fewer than one in 1e10 samples
    is confused it is the sum over pairs, count - 1 times `losses.two_sample_loss`.
    """
    d, counts, snr, v, share = _checked(d, count, psi, v, share)
    values = v * np.array([one[0] for one in _own(d, counts, snr, share)])
    return values.reshape(np.shape(count))[()]


def recall(d: int, count, psi: float, v: float = 1.0, *, share: float = 1.0):
    r"""Average posterior probability of the true point, :math:`E\,p_{true}=E\sum_jp_j^2`; arguments as above.

    The two averages agree because the posterior is the true one (Nishimori); the quadrature computes the first.
    """
    d, counts, snr, v, share = _checked(d, count, psi, v, share)
    return np.array([one[1] for one in _own(d, counts, snr, share)]).reshape(np.shape(count))[()]


def exact_losses(d: int, K: int, N: int, M, psi: float, v: float = 1.0, *, radius: float | None = None) -> Losses:
    r"""All average losses on N training points of K separated, equally likely clusters.

    .. math:: E\,L(pmem,M)=\tfrac MN\,\overline{l_{mem}}+\bigl(1-\tfrac MN\bigr)\overline{l_{new}},

    averages over the binomial number of points in the sample's cluster; M = N is the memoriser. Exact for K = 1, and
    for clusters far apart (on the usual sphere of radius sqrt(d v) within 2 per cent from psi v = 1, d = 30 on). A
    left-out point whose cluster has no point in the model, probability :math:`(1-1/K)^M`, is sent to another cluster:
    a loss of about :math:`2r^2+2dv`.

    Parameters
    ----------
    d, K, N : int
        Dimension, clusters, training points.
    M : array_like, in [1, N]
        Sizes of the partial memoriser; need not be whole.
    psi : float, > 0
    v : float, > 0
    radius : float, optional
        r, length of the cluster means; sqrt(d v) by default.

    Examples
    --------
    >>> losses = exact_losses(50, 12, 200, 100, 1.0)
    >>> round(float(losses.partial), 2), round(losses.generaliser, 1), losses.memoriser < 0.01
    (38.24, 25.0, True)
    """
    d, K, N = checks.integer("d", d, 1), checks.integer("K", K, 1), checks.integer("N", N, 1)
    sizes = checks.checked("M", M, lambda m: (m >= 1) & (m <= N), f"model sizes lie in [1, N={N}]")
    v = float(checks.positive("v", v))
    square = d * v if radius is None else float(checks.non_negative("radius", radius)) ** 2
    share, m = 1 / K, sizes / N
    own = np.asarray(training_point_loss(d, np.append(sizes.ravel(), N), psi, v, share=share))
    empty = (1 - share) ** sizes * (2 * square + d * v)  # beyond the d v that new_point_loss counts
    new = new_point_loss(d, sizes, psi, v, share=share) + empty
    partial = m * own[:-1].reshape(sizes.shape) + (1 - m) * new
    memoriser, generaliser = float(own[-1]), float(generaliser_loss(d, psi, v))
    return Losses(generaliser, memoriser, partial[()], generaliser - memoriser, (partial - memoriser)[()])


def effective_constant(d: int, K: int, N: int, M, psi: float, v: float = 1.0, *, radius: float | None = None):
    r"""Exact constant of the published law for the partial memoriser's excess: :math:`C=(L_M-L_N)/((1-M/N)dv)`.

    Arguments as in `exact_losses`, M < N. Theorem 3.2 of arXiv:2508.17689 puts C between 1 and 2, the published code
    takes 1. In truth C goes from about K/M at low signal-to-noise ratio to `nearest_constant` (d, M/K), below 1 in few
    dimensions and towards 2 as d grows.
    """
    checks.checked("M", M, lambda m: m < N, f"C compares a partial memoriser, M < N={N}, with the memoriser")
    losses = exact_losses(d, K, N, M, psi, v, radius=radius)
    return (losses.partial_excess / ((1 - np.asarray(M) / N) * d * v))[()]


# ---------------------------------------------------------------------- quadrature for unit variance


def _checked(d: Any, count: Any, psi: Any, v: Any, share: Any) -> tuple[int, tuple[float, ...], float, float, float]:
    counts = checks.checked("count", count, lambda n: (n >= 1) & np.isfinite(n), "must be at least 1 and finite")
    share = float(checks.checked("share", share, lambda s: (s > 0) & (s <= 1), "must lie in (0, 1]"))
    v = float(checks.positive("v", v))
    snr = float(checks.positive("psi", psi)) * v
    return checks.integer("d", d, 1), tuple(counts.ravel().tolist()), snr, v, share


class _Point(NamedTuple):
    """Law of a point given y: component along y of mean `mean` and variance `variance`, the rest isotropic."""

    mean: float
    variance: float


class _Grid(NamedTuple):
    start: float
    length: float
    size: int

    @property
    def step(self) -> float:
        return self.length / self.size


def _nodes(d: int, snr: float) -> tuple[np.ndarray, np.ndarray]:
    """Values of |y| and their weights; more for few dimensions, where the average is less smooth."""
    square, weight = gauss_chi_square(d, 14 + int(60 / np.sqrt(d)))
    return np.sqrt((1 + snr) * square), weight


def _grid(d: int, snr: float, rho: float, points: list[_Point]) -> _Grid:
    """Grid that covers the energies of all kinds of points and resolves their densities and powers of them."""
    from scipy.fft import next_fast_len
    from scipy.special import loggamma

    low, high, cutoff = np.inf, 0.0, 0.0
    omega = np.geomspace(1e-9, 40, 2000)
    decay = loggamma(1 + 1j * omega).real
    for point in points:
        c, shift = snr * point.variance, (rho - np.sqrt(snr) * point.mean) ** 2
        root, width = np.sqrt(shift + c * d), np.sqrt(c)
        low = min(low, 0.5 * max(0.0, root - 8.5 * width) ** 2)
        high = max(high, 0.5 * (root + 8.5 * width) ** 2)
        square = (omega * c) ** 2
        size = decay - d / 4 * np.log1p(square) - omega**2 * c * shift / (2 * (1 + square))
        cutoff = max(cutoff, omega[np.argmax(size < -_CUT)])
    length = high - low + _TAIL + 5
    # products of densities reach further in frequency, the more so the more Gaussian they are
    finer = 3.2 if d >= (12 if len(points) == 1 else 60) else 1.6
    size = int(np.ceil(finer * length * cutoff / np.pi))
    return _Grid(low - _TAIL, length, next_fast_len(size, real=True))


class _Densities:
    """On a grid of s: A of 1, of a and of |x|^2, B of |x|^2, and the survival function; see the module's text."""

    def __init__(self, d: int, snr: float, rho: float, point: _Point, grid: _Grid) -> None:
        from scipy.special import loggamma

        self.grid, self.omega = grid, 2 * np.pi * np.arange(grid.size // 2 + 1) / grid.length
        c, gap = snr * point.variance, rho - np.sqrt(snr) * point.mean
        tilt = 1 - 1j * self.omega * c  # under the weight e^{i omega t} the point stays Gaussian, of variance / tilt
        shift = 1j * self.omega * (gap**2 / (2 * tilt) - grid.start)
        self.modes = np.exp(loggamma(1 + 1j * self.omega) - d / 2 * np.log(tilt) + shift)
        self.mean = (point.mean - 1j * self.omega * np.sqrt(snr) * point.variance * rho) / tilt
        self.mean_square = self.mean**2 + d * point.variance / tilt

    def _back(self, modes: np.ndarray) -> np.ndarray:
        from scipy.fft import irfft

        return irfft(np.conj(modes), self.grid.size) * (self.grid.size / self.grid.length)

    def one(self) -> np.ndarray:
        return self._back(self.modes)

    def along(self) -> np.ndarray:
        return self._back(self.modes * self.mean)

    def square(self) -> np.ndarray:
        return self._back(self.modes * self.mean_square)

    def two_square(self) -> np.ndarray:
        return self._back(self.modes * (1 + 1j * self.omega) * self.mean_square)

    def survival(self) -> np.ndarray:
        integral = np.zeros_like(self.modes)
        integral[1:] = self.modes[1:] / (-1j * self.omega[1:])
        part = self._back(integral)
        return 1 - (np.arange(self.grid.size) / self.grid.size + part - part[0])

    def others(self, share: float) -> np.ndarray:
        """Chance that one more point of the denoiser, in the cluster or not, has t + log E > s."""
        return np.clip(1 - share + share * self.survival(), _FLOOR, 1.0)


def _grids(d: int, snr: float, own: bool) -> tuple[list[tuple[float, float, _Point, _Point, _Grid]], float]:
    found, total = [], 0.0
    other = _Point(0.0, 1.0)
    for rho, weight in zip(*_nodes(d, snr), strict=True):
        true = _Point(float(np.sqrt(snr) / (1 + snr) * rho), 1 / (1 + snr))
        grid = _grid(d, snr, float(rho), [other, true] if own else [other])
        total += grid.size
        found.append((float(rho), float(weight), true, other, grid))
    return found, total


def _afford(d: int, snr: float, points: float) -> None:
    if points > _BUDGET:
        raise OutOfDomain(
            f"psi v={snr:.4g} in d={d}: the energies spread over {points:.2g} grid points; lower psi v, or take the "
            "limit d v nearest_constant(d, count)"
        )


@lru_cache(maxsize=512)
def _new(d: int, counts: tuple[float, ...], snr: float, share: float) -> tuple[float, ...]:
    grids, total = _grids(d, snr, own=False)
    _afford(d, snr, total)
    M = np.array(counts)
    singles, pairs = M * share, M * (M - 1) * share**2
    pull, result = np.sqrt(snr) / (1 + snr), np.full(M.size, d / (1 + snr))
    for rho, weight, _, other, grid in grids:
        f = _Densities(d, snr, rho, other, grid)
        rest, along = f.others(share), f.along()
        centre, spread, pair = _sums(rest, M - 2, [rest * along, rest * f.two_square(), along**2], grid)
        square = singles * spread + pairs * pair
        result += weight * (square - 2 * pull * rho * singles * centre + (pull * rho) ** 2)
    return tuple(result.tolist())


def _sums(rest: np.ndarray, powers: np.ndarray, terms: list[np.ndarray], grid: _Grid) -> np.ndarray:
    """Integrals over s of rest**power times each term, shape (terms, powers)."""
    logs, table = np.log(rest), np.stack(terms)
    return grid.step * np.stack([table @ np.exp(power * logs) for power in powers], axis=1)


@lru_cache(maxsize=512)
def _own(d: int, counts: tuple[float, ...], snr: float, share: float) -> tuple[tuple[float, float], ...]:
    M = np.array(counts)
    others = (M - 1) * share
    if others.max() * (1 + snr / 2) ** (-d / 2) < _PAIRS:
        return tuple((one, 1.0) for one in (others * two_sample_loss(d, snr)).tolist())
    grids, total = _grids(d, snr, own=True)
    _afford(d, snr, total)
    pairs = (M - 1) * (M - 2) * share**2
    loss, weight_of_true = np.zeros(M.size), np.zeros(M.size)
    for rho, weight, true, other, grid in grids:
        f, g = _Densities(d, snr, rho, other, grid), _Densities(d, snr, rho, true, grid)
        rest, one, along, square, first = f.others(share), f.one(), f.along(), f.square(), g.one()
        with_true = first * square + g.square() * one - 2 * g.along() * along  # |x_0 - x_1|^2 on average
        without = g.survival() * (one * square - along**2)  # half of |x_1 - x_2|^2
        near, far, chosen = _sums(rest, M - 3, [rest * with_true, without, rest**2 * first], grid)
        loss += weight * (others * near + pairs * far)
        weight_of_true += weight * chosen
    return tuple(zip(loss.tolist(), weight_of_true.tolist(), strict=True))
