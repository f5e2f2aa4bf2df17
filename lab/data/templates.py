r"""Images that are a random colour times a fixed template: mixtures of low-rank Gaussians that look like pictures.

A sample is :math:`x=c\otimes T_k` with a uniform label k, a colour :math:`c\sim N(m_k, w I_C)` and a template T_k of P
pixels: given k a Gaussian of rank C in C P dimensions, with all eigenvalues :math:`w|T_k|^2`. Samples are rows (N, C
P), the channels one after the other.

Templates are drawn (`procedural_templates`, no download) or read from one's own images (`load_templates`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lab.errors import InputError

__all__ = ["ColouredTemplates", "coloured_templates", "load_templates", "procedural_templates", "template_components"]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


class ColouredTemplates(NamedTuple):
    """Templates (K, P), integer labels (N,), colours (N, C) and samples X (N, C P)."""

    templates: np.ndarray
    labels: np.ndarray
    colours: np.ndarray
    X: np.ndarray


def procedural_templates(
    rng: np.random.Generator, K: int = 6, shape: tuple[int, int] = (15, 15), *, ellipses: tuple[int, int] = (2, 4)
) -> np.ndarray:
    r"""K templates (K, height, width) in [0, 1]: each the maximum over a few soft ellipses, scaled to fill the range.

    An ellipse has its centre uniform in [-.6, .6]² (the image is [-1, 1]²), half-axes uniform in [.25, .7] and
    [.08, .2], any angle, and the profile 1/(1 + exp(6 (q - 1))) of its squared elliptic radius q.

    Parameters
    ----------
    ellipses : (int, int)
        Least and largest number of ellipses in a template.

    Examples
    --------
    >>> procedural_templates(np.random.default_rng(0), K=3).shape
    (3, 15, 15)
    """
    low, high = ellipses
    if K < 1 or min(shape) < 2 or not 1 <= low <= high:
        raise InputError(f"K={K}, shape={shape}, ellipses={ellipses}: need K >= 1, two pixels a side, 1 <= low <= high")
    count = rng.integers(low, high + 1, size=K)
    size = (K, high)
    centre = rng.uniform(-0.6, 0.6, (*size, 2))
    axes = np.stack([rng.uniform(0.25, 0.7, size), rng.uniform(0.08, 0.2, size)], axis=-1)
    angle = rng.uniform(0, math.pi, size)
    vertical, horizontal = (np.linspace(-1, 1, n) for n in shape)
    offset = np.stack(np.meshgrid(horizontal, vertical), axis=-1) - centre[:, :, None, None]
    turn = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=-1).reshape(*size, 1, 2, 2)
    radius = np.sum(((offset @ np.swapaxes(turn, -1, -2)) / axes[:, :, None, None]) ** 2, axis=-1)
    soft = 1 / (1 + np.exp(np.clip(6 * (radius - 1), None, 60.0)))
    image = np.max(np.where((np.arange(high) < count[:, None])[:, :, None, None], soft, 0.0), axis=1)
    return _filled(image)


def _filled(images: np.ndarray) -> np.ndarray:
    """Images scaled to fill [0, 1], one by one."""
    low, high = images.min(axis=(-2, -1), keepdims=True), images.max(axis=(-2, -1), keepdims=True)
    if np.any(high <= low):
        raise InputError("an image is constant and makes no template; leave it out")
    return (images - low) / (high - low)


def load_templates(
    path: str | Path, K: int | None = None, shape: tuple[int, int] = (15, 15), *,
    rng: np.random.Generator | None = None, invert: bool = False,
) -> np.ndarray:  # fmt: skip
    """Templates (K, height, width) in [0, 1] from one's own images.

    Parameters
    ----------
    path : path
        A ``.npy`` file, an ``.npz`` file (its first array), or a folder of images (read by Pillow). Arrays are
        (count, height, width), or (..., 1), (..., 3), (..., 4): colours are averaged, an alpha channel is left out.
    K : int, optional
        How many; the first ones, or random ones if `rng` is given. All by default.
    shape : (int, int)
        Resized to it (bicubic splines, after smoothing where the image shrinks).
    invert : bool
        Dark drawing on white ground: 1 - gray.
    """
    path = Path(path)
    images = _from_folder(path) if path.is_dir() else _from_array(path)
    if K is not None and not 1 <= K <= len(images):
        raise InputError(f"K={K}: {path} has {len(images)} images; choose 1 <= K <= {len(images)}")
    chosen = np.arange(len(images)) if rng is None else rng.permutation(len(images))
    found = _filled(np.stack([_resized(images[i], shape) for i in chosen[:K]]))
    return 1 - found if invert else found


def _from_array(path: Path) -> list[np.ndarray]:
    if path.suffix not in (".npy", ".npz") or not path.is_file():
        raise InputError(f"{path} is neither a folder of images nor an existing .npy or .npz file")
    loaded = np.load(path, allow_pickle=False)
    images = loaded[loaded.files[0]] if path.suffix == ".npz" else loaded
    if images.ndim == 4 and images.shape[-1] in (1, 3, 4):
        images = images[..., :3].mean(axis=-1)
    if images.ndim != 3 or len(images) == 0 or not np.isfinite(images).all():
        raise InputError(
            f"{path} has an array of shape {images.shape}: must be finite and (count, height, width), or with 1, 3 or "
            "4 colours as last axis"
        )
    return list(np.asarray(images, dtype=float))


def _from_folder(path: Path) -> list[np.ndarray]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGES)
    if not files:
        raise InputError(f"folder {path} has no images ({', '.join(IMAGES)})")
    try:
        from PIL import Image
    except ImportError:
        raise InputError(f"reading images from {path} needs Pillow: pip install pillow, or give a .npy file") from None
    found = []
    for file in files:
        with Image.open(file) as image:
            found.append(np.asarray(image.convert("L"), dtype=float))
    return found


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from scipy import ndimage

    factors = [new / old for new, old in zip(shape, image.shape, strict=True)]
    # without smoothing at the new pixel size, thin lines come and go with the sampling
    image = ndimage.gaussian_filter(image, [max(0.0, (1 / f - 1) / 2) for f in factors], mode="nearest")
    return ndimage.zoom(image, factors, order=3, mode="nearest", grid_mode=True)


def coloured_templates(
    rng: np.random.Generator, templates: np.ndarray, N: int = 100, *, colours: int = 3, variance: float = 1.0,
    colour_means: np.ndarray | None = None,
) -> ColouredTemplates:  # fmt: skip
    """N samples: uniform labels, colours N(mean of the label, `variance` I), templates (K, P) or (K, height, width).

    Parameters
    ----------
    colours : int
        C, number of channels.
    colour_means : array, shape (K, C), optional
        Zero by default, as in [1]_.

    References
    ----------
    .. [1] arXiv:2508.17689, section 4 (there with templates from photographs and drawings).
    """
    T = np.asarray(templates, dtype=float)
    T = T.reshape(len(T), -1)
    if N < 1 or colours < 1 or not variance > 0:
        raise InputError(f"N={N}, colours={colours}, variance={variance}: need N >= 1, colours >= 1 and variance > 0")
    means = _colour_means(colour_means, len(T), colours)
    labels = rng.integers(len(T), size=N)
    c = means[labels] + math.sqrt(variance) * rng.standard_normal((N, colours))
    X = c[:, :, None] * T[labels][:, None, :]
    return ColouredTemplates(T, labels, c, X.reshape(N, -1))


def _colour_means(colour_means: np.ndarray | None, K: int, colours: int) -> np.ndarray:
    means = np.zeros((K, colours)) if colour_means is None else np.asarray(colour_means, dtype=float)
    if means.shape != (K, colours):
        raise InputError(f"colour_means has shape {means.shape}: must be (K, colours) = ({K}, {colours})")
    return means


def template_components(
    templates: np.ndarray, *, colours: int = 3, variance: float = 1.0, colour_means: np.ndarray | None = None
) -> dict[str, Any]:
    """The mixture that `coloured_templates` draws from, as arguments of `lab.models.low_rank_denoisers`.

    Returns
    -------
    dict
        ``bases`` (K, P, 1), ``eigenvalues`` (K, 1), ``channels`` = colours, and ``means`` (K, C P) if there are
        `colour_means`.
    """
    T = np.asarray(templates, dtype=float)
    T = T.reshape(len(T), -1)
    norm = np.linalg.norm(T, axis=1)
    if not (norm > 0).all():
        raise InputError("a template is zero and has no direction; leave it out")
    found: dict[str, Any] = {
        "bases": (T / norm[:, None])[:, :, None], "eigenvalues": variance * norm[:, None] ** 2, "channels": colours,
    }  # fmt: skip
    if colour_means is not None:
        means = _colour_means(colour_means, len(T), colours)
        found["means"] = (means[:, :, None] * T[:, None, :]).reshape(len(T), -1)
    return found
