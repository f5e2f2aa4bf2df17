"""Torch modules of the CRATE layers, with the parameters of the published ones under their names.

torch is imported when a class is first asked for, not with this module: ``from lab.models.torch_crate import MSSA``.
The arithmetic is that of `lab.models.white_box`; these classes hold the parameters. Keys and shapes of a `state_dict`
are those of the public code, so that its weights load as they are:

==================  ==============================================================  =============================
module              parameters                                                      public class
==================  ==============================================================  =============================
MSSA                qkv.weight (K p, d), to_out.0.weight (d, K p), to_out.0.bias    Attention
ISTA, Dictionary    weight (d, d)                                                   FeedForward (encoder, decoder)
OvercompleteISTA    D (d, m), D1 (d, m)                                             OvercompleteISTABlock
PreNorm             norm.weight (d,), norm.bias (d,), fn.*                          PreNorm
CRATEBlock          0.* (PreNorm of MSSA), 1.* (PreNorm of ISTA)                    one of ``transformer.layers``
OvercompleteBlock   0.* (PreNorm of MSSA), 1.* (PreNorm of OvercompleteISTA)        one of ``transformer.layers``
CRATEDecoderBlock   0.* (PreNorm of Dictionary), 1.* (PreNorm of MSSA)              one of ``Block_CRATE.layers``
AttentionOnlyBlock  0.* (PreNorm of MSSA)                                           none found
==================  ==============================================================  =============================

``qkv.weight`` is all ``U_k^T`` below one another, ``to_out.0.weight`` all ``V_k`` side by side. The paper's formulas
differ from the public code; each difference is an option: ``scale=1.0`` instead of 1/sqrt(p), ``out="tied"`` instead of
a free output projection with a bias, ``norm_eps=None`` instead of layer norms, `residual` and `step` for the
contraction. Dropout is left out.

References
----------
.. [1] arXiv:2306.01129, Yu et al. 2023; github.com/Ma-Lab-Berkeley/CRATE (encoder).
.. [2] arXiv:2404.02446, Pai et al. 2024 (decoder).
.. [3] arXiv:2405.20299, Yang et al. 2024; github.com/UCSC-VLAA/CRATE-alpha (overcomplete dictionary).
.. [4] arXiv:2506.03790, Wang et al. 2025 (attention only).
"""

from __future__ import annotations

import functools
from typing import Any

from lab.errors import InputError
from lab.models.lazy import on_first_use
from lab.models.white_box import Phi, attend, softmax

__all__ = [  # noqa: F822 - made by __getattr__, so that importing this module does not load torch
    "ISTA", "MSSA", "AttentionOnlyBlock", "CRATEBlock", "CRATEDecoderBlock", "Dictionary", "OvercompleteBlock",
    "OvercompleteISTA", "PreNorm",
]  # fmt: skip

_OUTPUTS = ("published", "free", "tied", "identity")


@functools.cache
def _classes() -> dict[str, Any]:
    """The classes by name; they are made here because their base class must be imported first."""
    import torch
    from torch import nn

    class MSSA(nn.Module):
        r"""Multi-head subspace self-attention, the attention of CRATE.

        .. math:: \mathrm{out} = \sum_k \phi(\mathrm{scale}\,W_k W_k^\top)\,W_k V_k^\top + b, \qquad W_k = Z U_k

        The update alone: a layer adds the residual.

        Parameters
        ----------
        dim : int
            Dimension d of the tokens.
        heads : int
            K; `dim` must be a multiple of it unless `rank` is given.
        rank : int, optional
            Dimension p of a head; default ``dim / heads``.
        out : "published", "free", "tied" or "identity"
            Output frames V: a matrix of its own ("free"), the heads' ("tied", the formula of the paper), or none: the
            head coordinates, which needs ``heads * rank == dim`` ("identity"). "published" is "identity" for one head
            of full rank, as in the public code, and "free" otherwise.
        out_bias : bool
            Bias b of a free output (the public vision layer has one, CRATE-alpha has none).
        bias : bool
            Bias of the head coordinates (off in the public code).
        scale : float, optional
            Factor of the scores; default 1/sqrt(p) as in the public code, 1 in the formula of the paper.
        phi : function of the scores
            As in `lab.models.white_box.mssa`.
        fused : bool
            Use torch's fused kernel where `phi` is the softmax: no N x N storage, the same numbers up to rounding.

        References
        ----------
        .. [1] arXiv:2306.01129, Yu et al. 2023 (multi-head subspace self-attention).

        Examples
        --------
        >>> layer = MSSA(dim=8, heads=2)
        >>> tuple(layer(torch.zeros(1, 5, 8)).shape)
        (1, 5, 8)
        """

        def __init__(
            self, dim: int, heads: int = 8, *, rank: int | None = None, out: str = "published", out_bias: bool = True,
            bias: bool = False, scale: float | None = None, phi: Phi = softmax, fused: bool = True,
        ) -> None:  # fmt: skip
            super().__init__()
            if rank is None and dim % heads:
                raise InputError(f"dim={dim} is not a multiple of heads={heads}; change one of them or give rank")
            self.heads = heads
            self.rank = dim // heads if rank is None else rank
            if out not in _OUTPUTS:
                raise InputError(f"out={out!r} must be one of {', '.join(_OUTPUTS)}")
            if out == "published":
                out = "identity" if heads == 1 and self.rank == dim else "free"
            if out == "identity" and heads * self.rank != dim:
                raise InputError(f"out='identity' needs heads * rank = dim, not {heads} * {self.rank} and {dim}")
            self.out, self.phi, self.fused = out, phi, fused
            self.scale = self.rank**-0.5 if scale is None else scale
            inner = heads * self.rank
            self.qkv = nn.Linear(dim, inner, bias=bias)
            self.to_out = nn.Sequential(nn.Linear(inner, dim, bias=out_bias)) if out == "free" else None

        @property
        def frames(self) -> torch.Tensor:
            """Frames U of the heads, shape (K, d, p); orthonormal only if the weights are."""
            return self.qkv.weight.reshape(self.heads, self.rank, -1).mT

        @property
        def out_frames(self) -> torch.Tensor:
            """Output frames V, shape (K, d, p)."""
            if self.to_out is None and self.out == "tied":
                return self.frames
            own = self.qkv.weight
            weight = torch.eye(len(own)).to(own) if self.to_out is None else self.to_out.get_parameter("0.weight")
            return weight.reshape(-1, self.heads, self.rank).movedim(1, 0)

        def coordinates(self, Z: torch.Tensor) -> torch.Tensor:
            """Head coordinates (..., K, N, p) of tokens (..., N, d)."""
            return self.qkv(Z).unflatten(-1, (self.heads, self.rank)).movedim(-2, -3)

        def forward(self, Z: torch.Tensor) -> torch.Tensor:
            """The update, shape (..., N, d), of tokens `Z` of that shape."""
            W = self.coordinates(Z)
            if self.fused and self.phi is softmax:
                mixed = nn.functional.scaled_dot_product_attention(W, W, W, scale=self.scale)
            else:
                mixed = attend(W, phi=self.phi, scale=self.scale)
            flat = mixed.movedim(-3, -2).flatten(-2)
            if self.to_out is not None:
                return self.to_out(flat)
            return flat if self.out == "identity" else flat @ self.qkv.weight

        def extra_repr(self) -> str:
            return f"heads={self.heads}, rank={self.rank}, out={self.out!r}, scale={self.scale:.4g}"

    class ISTA(nn.Module):
        r"""One step of iterative shrinkage from the tokens themselves, the feed-forward layer of CRATE.

        .. math:: \mathrm{out} = \max\big(Y + \eta\,(Y - Y D^\top) D - \eta\lambda,\ 0\big)

        `weight` is D, shape (d, d). ``eta = lam = 0.1`` as published (lam = 0.5 in the masked autoencoder).

        References
        ----------
        .. [1] arXiv:2306.01129, Yu et al. 2023 (ISTA block).
        """

        def __init__(self, dim: int, *, eta: float = 0.1, lam: float = 0.1) -> None:
            super().__init__()
            _read_step(eta, lam)
            self.eta, self.lam = eta, lam
            self.weight = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(dim, dim)))

        def forward(self, Y: torch.Tensor) -> torch.Tensor:
            """Nonnegative codes (..., N, d) of the rows `Y`."""
            return torch.relu(Y + self.eta * ((Y - Y @ self.weight.mT) @ self.weight) - self.eta * self.lam)

        def extra_repr(self) -> str:
            return f"dim={len(self.weight)}, eta={self.eta:g}, lam={self.lam:g}"

    class OvercompleteISTA(nn.Module):
        """Steps of iterative shrinkage from zero with an overcomplete dictionary, decoded by another one.

        Parameters
        ----------
        dim : int
            Dimension d of the rows.
        atoms : int, optional
            m, by default 4 d as published; `D` and `D1` are (d, m).
        eta, lam, steps
            0.1, 0.1 and 2 as published.

        References
        ----------
        .. [1] arXiv:2405.20299, Yang et al. 2024 (ODL block).
        """

        def __init__(
            self, dim: int, *, atoms: int | None = None, eta: float = 0.1, lam: float = 0.1, steps: int = 2
        ) -> None:
            super().__init__()
            _read_step(eta, lam)
            if steps < 1:
                raise InputError(f"steps={steps} must be at least 1; without a step every code is zero")
            self.eta, self.lam, self.steps = eta, lam, steps
            shape = (dim, 4 * dim if atoms is None else atoms)
            self.D = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(shape)))
            self.D1 = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(shape)))

        def forward(self, Y: torch.Tensor) -> torch.Tensor:
            """Decoded rows (..., N, d); a layer adds the residual."""
            A = torch.relu(self.eta * (Y @ self.D) - self.eta * self.lam)
            for _ in range(self.steps - 1):
                A = torch.relu(A - self.eta * ((A @ self.D.mT - Y) @ self.D) - self.eta * self.lam)
            return A @ self.D1.mT

        def extra_repr(self) -> str:
            return f"dim={len(self.D)}, atoms={self.D.shape[1]}, eta={self.eta:g}, lam={self.lam:g}, steps={self.steps}"

    class Dictionary(nn.Module):
        """Rows decoded by a free square dictionary, ``Y D^T``: the first half of a CRATE decoder layer."""

        def __init__(self, dim: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(dim, dim)))

        def forward(self, Y: torch.Tensor) -> torch.Tensor:
            """Rows (..., N, d)."""
            return Y @ self.weight.mT

    class PreNorm(nn.Module):
        """A layer norm (or none, for ``eps=None``) before a module."""

        def __init__(self, dim: int, fn: nn.Module, eps: float | None = 1e-5) -> None:
            super().__init__()
            self.norm = nn.Identity() if eps is None else nn.LayerNorm(dim, eps=eps)
            self.fn = fn

        def forward(self, Z: torch.Tensor) -> torch.Tensor:
            """The module's output for normalised tokens."""
            return self.fn(self.norm(Z))

    class _Block(nn.ModuleList):
        """Modules with layer norms before them, and the coefficients of the attention's residual."""

        def __init__(self, dim: int, parts: list[nn.Module], norm_eps: float | None, residual: float, step: float):
            super().__init__([PreNorm(dim, part, norm_eps) for part in parts])
            self.residual, self.step = residual, step

        def extra_repr(self) -> str:
            return f"residual={self.residual:g}, step={self.step:g}"

    class AttentionOnlyBlock(_Block):
        """Attention with its residual and nothing else, ``residual Z + step MSSA(LN(Z))``.

        Parameters
        ----------
        dim, heads, **attention
            As in `MSSA`.
        residual, step : float
            1 and 1 by default; ``1 - kappa beta`` and ``kappa beta²`` are the gradient step on the coding rate of the
            heads, to first order and with softmax weights, if ``out="tied"`` and ``norm_eps=None``.
        norm_eps : float or None
            Added to the variance in the layer norm; None: no layer norm.
        """

        def __init__(
            self, dim: int, heads: int = 8, *, residual: float = 1.0, step: float = 1.0,
            norm_eps: float | None = 1e-5, **attention: Any,
        ) -> None:  # fmt: skip
            super().__init__(dim, [MSSA(dim, heads, **attention)], norm_eps, residual, step)

        def forward(self, Z: torch.Tensor) -> torch.Tensor:
            """Tokens (..., N, d)."""
            return self.residual * Z + self.step * self[0](Z)

    class CRATEBlock(_Block):
        """Encoder layer: attention with its residual, then one ISTA step without one.

        Parameters
        ----------
        dim, heads, residual, step, norm_eps, **attention
            As in `AttentionOnlyBlock`.
        eta, lam : float
            As in `ISTA`.

        References
        ----------
        .. [1] arXiv:2306.01129, Yu et al. 2023 (CRATE layer).
        """

        def __init__(
            self, dim: int, heads: int = 8, *, eta: float = 0.1, lam: float = 0.1, residual: float = 1.0,
            step: float = 1.0, norm_eps: float | None = 1e-5, **attention: Any,
        ) -> None:  # fmt: skip
            parts = [MSSA(dim, heads, **attention), ISTA(dim, eta=eta, lam=lam)]
            super().__init__(dim, parts, norm_eps, residual, step)

        def forward(self, Z: torch.Tensor) -> torch.Tensor:
            """Nonnegative tokens (..., N, d)."""
            return self[1](self.residual * Z + self.step * self[0](Z))

    class OvercompleteBlock(_Block):
        """Encoder layer with an overcomplete dictionary; both halves have a residual.

        Parameters as in `CRATEBlock` and `OvercompleteISTA`; the output of the attention has no bias and layer norms
        have 1e-6, as published.
        """

        def __init__(
            self, dim: int, heads: int = 8, *, atoms: int | None = None, eta: float = 0.1, lam: float = 0.1,
            steps: int = 2, residual: float = 1.0, step: float = 1.0, norm_eps: float | None = 1e-6,
            out_bias: bool = False, **attention: Any,
        ) -> None:  # fmt: skip
            codes = OvercompleteISTA(dim, atoms=atoms, eta=eta, lam=lam, steps=steps)
            parts = [MSSA(dim, heads, out_bias=out_bias, **attention), codes]
            super().__init__(dim, parts, norm_eps, residual, step)

        def forward(self, Z: torch.Tensor) -> torch.Tensor:
            """Tokens (..., N, d)."""
            half = self.residual * Z + self.step * self[0](Z)
            return half + self[1](half)

    class CRATEDecoderBlock(_Block):
        """Structured decoder layer: decode by a dictionary, then subtract the attention.

        Parameters as in `AttentionOnlyBlock`.

        References
        ----------
        .. [1] arXiv:2404.02446, Pai et al. 2024 (structured decoder).
        """

        def __init__(
            self, dim: int, heads: int = 8, *, residual: float = 1.0, step: float = 1.0,
            norm_eps: float | None = 1e-5, **attention: Any,
        ) -> None:  # fmt: skip
            super().__init__(dim, [Dictionary(dim), MSSA(dim, heads, **attention)], norm_eps, residual, step)

        def forward(self, Z: torch.Tensor) -> torch.Tensor:
            """Tokens (..., N, d)."""
            G = self[0](Z)
            return self.residual * G - self.step * self[1](G)

    def _read_step(eta: float, lam: float) -> None:
        if not (eta > 0 and lam >= 0):
            raise InputError(f"eta={eta} must be > 0 and lam={lam} >= 0; they are a step and the weight of a penalty")

    made = (MSSA, ISTA, OvercompleteISTA, Dictionary, PreNorm, AttentionOnlyBlock, CRATEBlock, OvercompleteBlock,
            CRATEDecoderBlock)  # fmt: skip
    for cls in made:
        cls.__module__, cls.__qualname__ = __name__, cls.__name__  # so that instances can be pickled
    return {cls.__name__: cls for cls in made}


__getattr__, __dir__ = on_first_use(__name__, __all__, _classes)
