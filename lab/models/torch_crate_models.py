"""Small CRATE networks on tokens, and their training: a classifier and a masked autoencoder.

torch is imported when a class or function is used, not with this module. Images become tokens by `patches`. The
classifier's `state_dict` has the keys of the public one (``to_patch_embedding``, ``cls_token``, ``pos_embedding``,
``transformer.layers``, ``mlp_head``). Training is deterministic: `seeded` makes a model whose first weights depend on
a seed alone and leaves torch's own generator as it was; a training function draws its batches from its own seed.

References
----------
.. [1] arXiv:2306.01129, Yu et al. 2023 (classifier).
.. [2] arXiv:2404.02446, Pai et al. 2024 (masked autoencoder).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lab.arrays import Array, namespace
from lab.errors import InputError

__all__ = [  # noqa: F822 - the classes are made by __getattr__, so that importing this module does not load torch
    "CRATEAutoencoder", "CRATEClassifier", "accuracy", "patches", "seeded", "train_autoencoder", "train_classifier",
]  # fmt: skip

_CLASSES = ("CRATEAutoencoder", "CRATEClassifier")


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


# ---------------------------------------------------------------------- data


def patches(images: Array, size: int | tuple[int, int]) -> Array:
    """Images cut into patches, row by row, as tokens.

    Parameters
    ----------
    images : array, shape (..., H, W)
        One channel; NumPy, torch or JAX.
    size : int or (int, int)
        Height and width of a patch; must divide H and W.

    Returns
    -------
    array, shape (..., (H/h)(W/w), h w)
    """
    xp = namespace(images)
    h, w = (size, size) if isinstance(size, int) else size
    if images.ndim < 2 or h < 1 or w < 1 or images.shape[-2] % h or images.shape[-1] % w:
        raise InputError(f"images of shape {tuple(images.shape)} are not (..., H, W) made of patches of {h} by {w}")
    batch, (H, W) = tuple(images.shape[:-2]), images.shape[-2:]
    cut = xp.moveaxis(xp.reshape(images, (*batch, H // h, h, W // w, w)), -3, -2)
    return xp.reshape(cut, (*batch, (H // h) * (W // w), h * w))


# ---------------------------------------------------------------------- training


def seeded(seed: int, make: Callable[[], Any]) -> Any:
    """What `make` returns, a model say, with torch's generator at `seed` meanwhile and as it was afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def train_classifier(
    model: Any, X: Any, labels: Any, *, epochs: int = 30, batch: int = 64, rate: float = 2e-3,
    weight_decay: float = 1e-4, seed: int = 0, threads: int = 1,
) -> list[float]:  # fmt: skip
    """Train a classifier of tokens with AdamW on the cross-entropy; returns the mean loss of every epoch, in nats.

    Parameters
    ----------
    model : nn.Module
        From tokens (B, N, patch) to logits (B, classes).
    X : tensor, shape (n, N, patch)
    labels : integer tensor, shape (n,)
    epochs, batch : int
    rate : float, > 0
        Largest learning rate; it falls to zero along half a cosine.
    weight_decay : float, >= 0
    seed : int
        Of the order of the samples.
    threads : int
        Of torch while it trains: small networks are fastest on one, and results may depend on their number.
    """
    import torch

    if len(X) != len(labels):
        raise InputError(f"{len(X)} samples and {len(labels)} labels; there must be as many")

    def loss(index: Any, _: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(X[index]), labels[index])

    return _trained(model, loss, len(X), epochs, batch, rate, weight_decay, seed, threads)


def train_autoencoder(
    model: Any, X: Any, *, epochs: int = 20, batch: int = 32, rate: float = 5e-3, weight_decay: float = 1e-4,
    seed: int = 0, threads: int = 1,
) -> list[float]:  # fmt: skip
    """Train a masked autoencoder with AdamW on the mean squared error of hidden tokens; returns that of every epoch.

    `model` is a `CRATEAutoencoder` or has its `loss`; other parameters as in `train_classifier`. The first epochs find
    the mean of each token, a plateau; it is left after some hundred steps where few tokens are hidden.
    """

    def loss(index: Any, generator: Any) -> Any:
        return model.loss(X[index], generator=generator)

    return _trained(model, loss, len(X), epochs, batch, rate, weight_decay, seed, threads)


def _trained(model, loss, count, epochs, batch, rate, weight_decay, seed, threads) -> list[float]:
    import torch

    if min(epochs, batch, threads) < 1 or not rate > 0:
        raise InputError(f"epochs={epochs}, batch={batch}, threads={threads} must be at least 1, rate={rate} positive")
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay)
    steps = epochs * -(-count // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    history, before = [], torch.get_num_threads()
    model.train()
    torch.set_num_threads(threads)
    try:
        for _ in range(epochs):
            total = 0.0
            for index in torch.randperm(count, generator=generator).split(batch):
                optimiser.zero_grad()
                value = loss(index, generator)
                value.backward()
                optimiser.step()
                schedule.step()
                total += value.item() * len(index)
            history.append(total / count)
    finally:
        torch.set_num_threads(before)
    model.eval()
    return history


def accuracy(model: Any, X: Any, labels: Any) -> float:
    """Share of samples whose largest logit is that of their label."""
    import torch

    with torch.no_grad():
        return float((model(X).argmax(-1) == labels).double().mean())


# ---------------------------------------------------------------------- networks


@functools.cache
def _classes() -> dict[str, Any]:
    """The classes by name; they are made here because their base class must be imported first."""
    import torch
    from torch import nn

    from lab.models.torch_crate import CRATEBlock, CRATEDecoderBlock

    class Transformer(nn.Module):
        """Layers one after another."""

        def __init__(self, layers: list[nn.Module]) -> None:
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, Z: torch.Tensor) -> torch.Tensor:
            """Tokens (B, N, d) after the last layer."""
            for layer in self.layers:
                Z = layer(Z)
            return Z

    class CRATEClassifier(nn.Module):
        """CRATE classifier of tokens: embedding, class token, positions, layers, linear head on the class token.

        Parameters
        ----------
        tokens, patch : int
            Tokens N of a sample and their dimension.
        classes : int
        dim, depth, heads : int
            Dimension d of the tokens inside, layers, heads of each.
        pool : "cls" or "mean"
            The class token or the mean of all tokens goes into the head.
        block : class of the layers
            By default `lab.models.torch_crate.CRATEBlock`, called as ``block(dim, heads, **options)``.
        **options
            Of the layers.

        Examples
        --------
        >>> model = CRATEClassifier(tokens=16, patch=4, classes=10, dim=8, depth=2, heads=2)
        >>> tuple(model(torch.zeros(3, 16, 4)).shape), tuple(model.hidden(torch.zeros(3, 16, 4)).shape)
        ((3, 10), (3, 3, 17, 8))
        """

        def __init__(
            self, *, tokens: int, patch: int, classes: int, dim: int = 32, depth: int = 2, heads: int = 4,
            pool: str = "cls", block: Any = CRATEBlock, **options: Any,
        ) -> None:  # fmt: skip
            super().__init__()
            if pool not in ("cls", "mean"):
                raise InputError(f"pool={pool!r} must be 'cls' or 'mean'")
            self.pool = pool
            # the place of the public code's cutting into patches is kept, so that the keys agree
            self.to_patch_embedding = nn.Sequential(
                nn.Identity(), nn.LayerNorm(patch), nn.Linear(patch, dim), nn.LayerNorm(dim)
            )
            self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
            self.pos_embedding = nn.Parameter(torch.randn(1, tokens + 1, dim))
            self.transformer = Transformer([block(dim, heads, **options) for _ in range(depth)])
            self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))

        def embed(self, X: torch.Tensor) -> torch.Tensor:
            """Tokens (B, N + 1, d) that enter the first layer, the class token first."""
            Z = self.to_patch_embedding(X)
            return torch.cat([self.cls_token.expand(len(Z), -1, -1), Z], 1) + self.pos_embedding

        def hidden(self, X: torch.Tensor) -> torch.Tensor:
            """Tokens before the first layer and after each, shape (depth + 1, B, N + 1, d)."""
            states = [self.embed(X)]
            for layer in self.transformer.layers:
                states.append(layer(states[-1]))
            return torch.stack(states)

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            """Logits (B, classes) of tokens (B, N, patch)."""
            Z = self.transformer(self.embed(X))
            return self.mlp_head(Z[:, 0] if self.pool == "cls" else Z.mean(1))

    class CRATEAutoencoder(nn.Module):
        """CRATE masked autoencoder: an encoder of the visible tokens, a structured decoder of all.

        Hidden tokens enter the decoder as one learned token with their positions.

        Parameters
        ----------
        tokens, patch : int
            Tokens N of a sample and their dimension.
        dim, depth, heads : int
            Of the encoder; the decoder has as many layers unless `decoder_depth` is given.
        hidden : float, in (0, 1)
            Share of the tokens that are hidden, rounded to a number of tokens.
        lam : float
            Weight of the encoder's penalty; 0.5 in the public code.
        **attention
            Options of the attention, as in `lab.models.torch_crate.MSSA`, in all layers.

        Examples
        --------
        >>> model = CRATEAutoencoder(tokens=16, patch=4, dim=8, heads=2)
        >>> X, order = torch.zeros(3, 16, 4), torch.arange(16).expand(3, -1)
        >>> tuple(model(X, order).shape), tuple(model.encode(X).shape)
        ((3, 16, 4), (3, 16, 8))
        """

        def __init__(
            self, *, tokens: int, patch: int, dim: int = 32, depth: int = 2, heads: int = 4,
            decoder_depth: int | None = None, hidden: float = 0.25, eta: float = 0.1, lam: float = 0.5,
            **attention: Any,
        ) -> None:  # fmt: skip
            super().__init__()
            self.hidden = round(hidden * tokens)
            if not 0 < self.hidden < tokens:
                raise InputError(f"hidden={hidden} of {tokens} tokens is {self.hidden}; some must be hidden, some not")
            self.embedding = nn.Linear(patch, dim)
            self.positions = nn.Parameter(0.5 * torch.randn(1, tokens, dim))
            self.encoder = Transformer(
                [CRATEBlock(dim, heads, eta=eta, lam=lam, **attention) for _ in range(depth)]
            )
            self.mask_token = nn.Parameter(0.5 * torch.randn(1, 1, dim))
            self.decoder_positions = nn.Parameter(0.5 * torch.randn(1, tokens, dim))
            self.decoder = Transformer(
                [CRATEDecoderBlock(dim, heads, **attention) for _ in range(decoder_depth or depth)]
            )
            self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, patch))

        def encode(self, X: torch.Tensor, visible: torch.Tensor | None = None) -> torch.Tensor:
            """Codes of the visible tokens, places (B, V), or of all."""
            Z = self.embedding(X) + self.positions
            return self.encoder(Z if visible is None else _taken(Z, visible))

        def forward(self, X: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
            """Tokens (B, N, patch) from those that are visible: all but the first `hidden` places of `order` (B, N)."""
            count = order.shape[1] - self.hidden
            codes = self.encode(X, order[:, self.hidden :])
            filled = torch.cat([self.mask_token.expand(len(X), self.hidden, -1), codes], 1)
            Z = _taken(filled, order.argsort(1)) + self.decoder_positions
            if codes.shape[1] != count:
                raise InputError(f"order has shape {tuple(order.shape)} but must hold all places of each sample")
            return self.head(self.decoder(Z))

        def loss(self, X: torch.Tensor, order: torch.Tensor | None = None, *, generator: Any = None) -> torch.Tensor:
            """Mean squared error over the entries of hidden tokens; without an order, a random one for each sample."""
            if order is None:
                order = torch.rand(X.shape[:2], generator=generator).argsort(1)
            places = order[:, : self.hidden]
            return nn.functional.mse_loss(_taken(self(X, order), places), _taken(X, places))

    def _taken(Z: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Tokens at some places: (B, V, d) from (B, N, d) and (B, V)."""
        return torch.take_along_dim(Z, places[..., None], 1)

    Transformer.__module__, Transformer.__qualname__ = __name__, "_Transformer"
    made = (CRATEClassifier, CRATEAutoencoder)
    for cls in made:
        cls.__module__, cls.__qualname__ = __name__, cls.__name__  # so that instances can be pickled
    return {cls.__name__: cls for cls in made}
