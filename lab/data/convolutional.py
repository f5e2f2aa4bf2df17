r"""Convolutional dictionaries, sparse codes whose nonzeros are spread out, and signals synthesised layer by layer.

A bank of M filters of length n has shape (M, C, n) for signals of C channels; columns of the dictionary are all
circular shifts of all filters. Signals (..., C, N) and codes (..., M, N) keep samples in leading axes; the papers write
``x = D gamma`` with columns. A *stripe* is a window of ``2n - 1`` shifts over all filters, a *patch* of a signal n
consecutive entries over all channels; both go round the circle. NumPy only: generators draw from a NumPy generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lab.errors import InputError

__all__ = [
    "deconvolution_signal", "dictionary", "filter_bank", "patch_norm", "spaced_atoms", "spike_codes",
    "stripe_counts", "stripe_sparse_codes", "worst_overlap",
]  # fmt: skip

Kind = Literal["gauss", "sign", "optimised"]


def filter_bank(
    rng: np.random.Generator, *, count: int, size: int, channels: int = 1, kind: Kind = "gauss"
) -> np.ndarray:
    """Filters of unit norm, shape (count, channels, size).

    Parameters
    ----------
    rng : numpy.random.Generator
    count, size, channels : int, > 0
        M, n and C.
    kind : "gauss", "sign" or "optimised"
        Gaussian entries or fair signs, normalised; or the smallest mutual coherence (on circles of at least
        ``2 size - 1``) that minimising the sum of the 4th, then of higher powers of all correlations finds.

    Raises
    ------
    InputError
        For a size below 1 or an unknown kind.
    """
    shape = (_whole("count", count), _whole("channels", channels), _whole("size", size))
    if kind not in ("gauss", "sign", "optimised"):
        raise InputError(f"kind={kind!r} must be 'gauss', 'sign' or 'optimised'")
    entries = rng.choice([-1.0, 1.0], shape) if kind == "sign" else rng.standard_normal(shape)
    filters = entries / np.linalg.norm(entries, axis=(1, 2), keepdims=True)
    return _optimised(filters) if kind == "optimised" else filters


def _optimised(filters: np.ndarray) -> np.ndarray:
    """L-BFGS on the norm of all correlations but the filters' own, for powers that grow towards the maximum."""
    from scipy.optimize import minimize

    shape, length = filters.shape, 2 * filters.shape[2] - 1
    own = np.zeros((shape[0], shape[0], length))
    own[np.arange(shape[0]), np.arange(shape[0]), 0] = 1.0

    def loss(flat: np.ndarray, power: int) -> tuple[float, np.ndarray]:
        raw = flat.reshape(shape)
        norms = np.linalg.norm(raw, axis=(1, 2), keepdims=True)
        unit = raw / norms
        spectrum = np.fft.fft(unit, length)
        pairs = np.einsum("acf,bcf->abf", spectrum.conj(), spectrum)
        others = np.fft.ifft(pairs).real - own
        value = float(np.sum(others**power))
        inner = np.fft.fft(power * others ** (power - 1))
        # every pair occurs as (a, b) and (b, a), with opposite shifts
        slope = 2 * np.fft.ifft(np.einsum("abf,acf->bcf", inner, spectrum)).real[..., : shape[2]]
        slope = (slope - unit * np.sum(unit * slope, axis=(1, 2), keepdims=True)) / norms
        scale = 1 / (power * value)  # the logarithm of the power norm: well scaled for every power
        return float(np.log(value) / power), slope.ravel() * scale

    flat = filters.ravel()
    for power in (4, 8, 16, 32, 64, 128):
        flat = minimize(loss, flat, args=(power,), jac=True, method="L-BFGS-B", options={"gtol": 1e-12}).x
    raw = flat.reshape(shape)
    return raw / np.linalg.norm(raw, axis=(1, 2), keepdims=True)


def spaced_atoms(rng: np.random.Generator, *, count: int, channels: int, size: int, entries: int = 3, spacing: int = 1):
    """Filters of `entries` equal magnitudes and random signs whose shifts overlap in one entry at most.

    Shape (count, channels, size). Entries of a filter are at least `spacing` apart, and no two pairs of entries, of one
    or of two filters, have the same difference of positions in the same channels: every correlation between different
    shifts is 0 or ``+- 1/entries``. For deeper layers: their atoms keep the codes of the layer before sparse.

    Raises
    ------
    InputError
        If no such filters are found in 2000 draws; raise `size` or lower `count`.
    """
    for _ in range(2000):
        filters = np.zeros((count, channels, size))
        seen: set[tuple[int, int, int]] = set()
        for atom in filters:
            free = size - 1 - (entries - 1) * spacing
            if free < 0:
                break
            places = np.sort(rng.integers(0, free + 1, entries)) + spacing * np.arange(entries)
            where = rng.integers(0, channels, entries)
            pairs = [(where[i], where[j], places[j] - places[i]) for i in range(entries) for j in range(entries)]
            pairs = [pair for k, pair in enumerate(pairs) if k % (entries + 1)]  # an entry with itself is no overlap
            if len(set(pairs)) < len(pairs) or seen & set(pairs):
                break
            seen |= set(pairs)
            atom[where, places] = rng.choice([-1.0, 1.0], entries) / np.sqrt(entries)
        else:
            if worst_overlap(filters) <= 1 / entries + 1e-12:
                return filters
    raise InputError(f"no {count} atoms of {entries} entries, {spacing} apart, in size={size}; raise size")


def worst_overlap(filters: np.ndarray) -> float:
    """Largest correlation between different shifts, all pairs of filters."""
    length = 2 * filters.shape[2] - 1
    spectrum = np.fft.fft(filters, length)
    pairs = np.abs(np.fft.ifft(np.einsum("acf,bcf->abf", spectrum.conj(), spectrum)).real)
    pairs[np.arange(len(filters)), np.arange(len(filters)), 0] = 0.0
    return float(pairs.max())


def dictionary(filters: np.ndarray, length: int, *, circular: bool = True) -> np.ndarray:
    """Matrix D (C N, M N) whose column ``m N + k`` is filter m shifted by k; row ``c N + t`` is entry t of channel c.

    With ``circular=False`` filters are cut off at the end of the signal instead of wrapped (zero padding).
    """
    count, channels, size = filters.shape
    if length < size:
        raise InputError(f"length={length} is below the filters' size {size}; raise length")
    padded = np.zeros((count, channels, length))
    padded[..., :size] = filters
    t, k = np.arange(length)[:, None], np.arange(length)
    blocks = padded[..., (t - k) % length]  # (M, C, t, k)
    if not circular:
        blocks = np.where(t >= k, blocks, 0.0)
    return blocks.transpose(1, 2, 0, 3).reshape(channels * length, count * length)


def spike_codes(
    rng: np.random.Generator, *, count: int, length: int, nonzeros: int, amplitude: str = "sign"
) -> np.ndarray:
    """Codes (count, length) with `nonzeros` entries at uniform places.

    `amplitude` is "sign" (-1 or 1), "uniform" (random sign, magnitude in [1, 2]), "positive" (in [1, 2]) or "gauss".
    """
    if not 0 <= nonzeros <= count * length:
        raise InputError(f"nonzeros={nonzeros} must lie between 0 and the {count * length} entries")
    codes = np.zeros(count * length)
    places = rng.permutation(count * length)[:nonzeros]
    codes[places] = _amplitudes(rng, nonzeros, amplitude)
    return codes.reshape(count, length)


def _amplitudes(rng: np.random.Generator, number: int, law: str) -> np.ndarray:
    """`number` nonzero values by one of the laws of `spike_codes`."""
    signs = rng.choice([-1.0, 1.0], number)
    laws = {"sign": signs, "uniform": signs * rng.uniform(1, 2, number), "positive": rng.uniform(1, 2, number),
            "gauss": rng.standard_normal(number)}  # fmt: skip
    if law not in laws:
        raise InputError(f"amplitude={law!r} must be one of {', '.join(laws)}")
    return laws[law]


def stripe_sparse_codes(
    rng: np.random.Generator, *, count: int, length: int, size: int, per_stripe: int, amplitude: str = "sign",
    most: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Codes (count, length) with at most `per_stripe` nonzeros in every stripe of ``2 size - 1`` shifts.

    Places are tried in random order and kept where they fit, until none does or `most` are in.
    """
    window, codes = 2 * size - 1, np.zeros(count * length)
    if window > length:
        raise InputError(f"size={size} makes stripes of {window} shifts, longer than length={length}; raise length")
    filled, chosen = np.zeros(length, dtype=int), []  # nonzeros in the stripe that ends at each shift
    for place in rng.permutation(count * length):
        reach = (place % length + np.arange(window)) % length
        if np.all(filled[reach] < per_stripe):
            filled[reach] += 1
            chosen.append(place)
        if len(chosen) == most:
            break
    codes[chosen] = _amplitudes(rng, len(chosen), amplitude)
    return codes.reshape(count, length)


def stripe_counts(codes: np.ndarray, size: int) -> np.ndarray:
    """Nonzeros in each stripe of ``2 size - 1`` shifts over all filters; codes (..., M, N), result (..., N)."""
    return _windows(np.sum(codes != 0, axis=-2), 2 * size - 1)


def patch_norm(signal: np.ndarray, size: int) -> np.ndarray:
    """Largest Euclidean norm of a patch of `size` entries over all channels; signal (..., C, N), result (...)."""
    return np.sqrt(np.max(_windows(np.sum(signal**2, axis=-2), size), axis=-1))


def _windows(values: np.ndarray, width: int) -> np.ndarray:
    """Sums over circular windows."""
    return np.sum([np.roll(values, -k, axis=-1) for k in range(min(width, values.shape[-1]))], axis=0)


def deconvolution_signal(codes: np.ndarray, banks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Signal and codes of every layer, ``[x, gamma_1, ..., gamma_L]``, of ``x = D_1 D_2 ... D_L gamma_L``.

    Parameters
    ----------
    codes : array, shape (M_L, N)
        The deepest code.
    banks : sequence of arrays (M_i, M_{i-1}, n_i), M_0 the channels of x
        Filters of D_1, ..., D_L. From the second on their atoms must be sparse, or gamma_1 is not (`spaced_atoms`).
    """
    layers = [np.asarray(codes, dtype=float)]
    for bank in reversed(banks):
        count, channels, _ = bank.shape
        if layers[0].shape[0] != count:
            raise InputError(f"a bank of {count} filters meets codes of {layers[0].shape[0]} maps; they must agree")
        length = layers[0].shape[1]
        layers.insert(0, (dictionary(bank, length) @ layers[0].ravel()).reshape(channels, length))
    return layers


def _whole(name: str, value: int) -> int:
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}={value!r} must be an integer > 0")
    return int(value)
