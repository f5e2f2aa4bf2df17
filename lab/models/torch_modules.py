"""Torch modules of the white-box layers, with the parameters of the published ones.

torch is imported when a class is first asked for, not with this module: `from lab.models.torch_modules import TSSA`.
The arithmetic is that of `lab.models.white_box`; these classes hold the parameters.
"""

from __future__ import annotations

import functools
from typing import Any

from lab.errors import InputError
from lab.models.lazy import on_first_use
from lab.models.white_box import head_membership, token_statistics

__all__ = ["TSSA"]  # noqa: F822 - made by __getattr__, so that importing this module does not load torch


@functools.cache
def _classes() -> dict[str, Any]:
    """The classes by name; they are made here because their base class must be imported first."""
    import torch
    from torch import nn

    class TSSA(nn.Module):
        r"""Token statistics self-attention, the attention of the ToST vision layer.

        .. math:: \mathrm{out} = -\mathrm{step} \sum_k \mathrm{diag}(\pi_k)\, W_k\, \mathrm{diag}\frac{1}{1 + c\,t_k}\,
                  V_k^\top + b, \qquad W_k = Z U_k, \quad t_k = \frac{(W_k^{\odot 2})^\top \pi_k}{n_k + \mathrm{guard}}

        with ``V = U`` if tied and a free matrix otherwise. The update alone: a layer adds the residual.

        Parameters
        ----------
        dim : int
            Dimension d of the tokens.
        heads : int
            K; `dim` must be a multiple of it unless `rank` is given.
        rank : int, optional
            Dimension p of a head; default ``dim / heads``, as published.
        bias : bool
            Bias of the head coordinates (off in the published layer).
        tied : bool
            Use the frames U as output weight, which makes the layer a gradient step: with orthonormal frames it is
            ``-(step N/c) grad R^var``. Otherwise `to_out` is free, with a bias, as published.
        temperature : bool or float
            True: one learned inverse temperature per head, starting at 1, as published. A number: that one, fixed
            (``1/(2 eta)``).
        token_normalised : bool
            Logits from head coordinates normalised over the tokens, as published; False: from ``|U_k^T z|^2``, the
            formula of the paper.
        c : float, > 0
            1 in the published layer.
        step : float, > 0
            tau c/N, 1 in the published layer; up to 2 it never increases the variational rate (orthonormal frames).
        guard : float, >= 0
            Added to the masses n_k, 1e-8 as published.

        Notes
        -----
        With the default options, `state_dict` has the keys and shapes of the published layer, so that its weights load
        as they are: ``qkv.weight`` (K p, d), ``temp`` (K, 1), ``to_out.0.weight`` (d, K p), ``to_out.0.bias`` (d,).
        Dropout is left out.

        References
        ----------
        .. [1] arXiv:2412.17810, Wu et al. 2024 (token statistics transformer).

        Examples
        --------
        >>> layer = TSSA(dim=8, heads=2)
        >>> tuple(layer(torch.zeros(1, 5, 8)).shape)
        (1, 5, 8)
        """

        def __init__(
            self, dim: int, heads: int = 8, *, rank: int | None = None, bias: bool = False, tied: bool = False,
            temperature: bool | float = True, token_normalised: bool = True, c: float = 1.0, step: float = 1.0,
            guard: float = 1e-8,
        ) -> None:  # fmt: skip
            super().__init__()
            if rank is None and dim % heads:
                raise InputError(f"dim={dim} is not a multiple of heads={heads}; change one of them or give rank")
            if temperature is False:
                raise InputError("temperature=False is none; give True (learned) or a number, the inverse temperature")
            if not (c > 0 and step > 0 and guard >= 0):
                raise InputError(f"c={c}, step={step}, guard={guard}: c and step must be > 0, guard >= 0")
            self.heads = heads
            self.rank = dim // heads if rank is None else rank
            self.c, self.step, self.guard, self.token_normalised = c, step, guard, token_normalised
            self.qkv = nn.Linear(dim, heads * self.rank, bias=bias)
            self.temperature = float(temperature)
            self.temp = nn.Parameter(torch.ones(heads, 1)) if temperature is True else None
            self.to_out = None if tied else nn.Sequential(nn.Linear(heads * self.rank, dim))

        @property
        def frames(self) -> torch.Tensor:
            """Frames U of the heads, shape (K, d, p); orthonormal only if the weights are."""
            return self.qkv.weight.reshape(self.heads, self.rank, -1).mT

        def membership(self, Z: torch.Tensor) -> torch.Tensor:
            """Membership (..., N, K) of the tokens in the heads."""
            return self._membership(self._coordinates(Z))

        def forward(self, Z: torch.Tensor) -> torch.Tensor:
            """The update, shape (..., N, d), of tokens `Z` of that shape."""
            W = self._coordinates(Z)
            tau = self.step * W.shape[-2] / self.c
            update = token_statistics(W, self._membership(W), tau=tau, c=self.c, guard=self.guard)
            flat = update.movedim(-3, -2).flatten(-2)
            return flat @ self.qkv.weight if self.to_out is None else self.to_out(flat)

        def extra_repr(self) -> str:
            options = f"tied={self.to_out is None}, token_normalised={self.token_normalised}"
            return f"heads={self.heads}, rank={self.rank}, c={self.c:g}, step={self.step:g}, {options}"

        def _coordinates(self, Z: torch.Tensor) -> torch.Tensor:
            return self.qkv(Z).unflatten(-1, (self.heads, self.rank)).movedim(-2, -3)

        def _membership(self, W: torch.Tensor) -> torch.Tensor:
            scale = self.temperature if self.temp is None else self.temp[:, 0]
            return head_membership(W, scale=scale, token_normalised=self.token_normalised)

    for cls in (TSSA,):
        cls.__module__, cls.__qualname__ = __name__, cls.__name__  # so that instances can be pickled
    return {"TSSA": TSSA}


__getattr__, __dir__ = on_first_use(__name__, __all__, _classes)
