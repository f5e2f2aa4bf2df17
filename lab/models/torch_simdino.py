"""Torch modules for SimDINO: the loss, and a student with its averaged teacher.

torch is imported when a class is first asked for, not with this module:
``from lab.models.torch_simdino import SelfDistillation, SimDINOLoss``. The arithmetic is that of
`lab.models.self_distillation`.
"""

from __future__ import annotations

import functools
from typing import Any

from lab.errors import InputError
from lab.models.lazy import on_first_use
from lab.models.self_distillation import Expanded, alignment, expansion, unit_rows

__all__ = ["AffineEncoder", "SelfDistillation", "SimDINOLoss"]  # noqa: F822 - made by __getattr__


@functools.cache
def _classes() -> dict[str, Any]:
    """The classes by name; they are made here because their base class must be imported first."""
    import copy

    import torch
    from torch import nn

    class SimDINOLoss(nn.Module):
        r"""SimDINO loss on features of several views: alignment minus gamma times the coding rate.

        .. math:: L = \tfrac12\operatorname{mean}\|z_s-\mathrm{sg}(z_t)\|^2-\gamma R

        Parameters
        ----------
        eps : float, > 0
            Distortion. The public code's `eps` is the square of it: its 0.5 is ``eps=0.5**0.5`` here.
        gamma : float, > 0, optional
            Weight of the rate; by default the public code's ``(d + N)/(d N)`` for N samples in d dimensions.
        of : "student" or "mean"
            Whose rate: the student's as in the paper, or that of the mean of student and teacher as in the public code.
        centred : bool
            Rate of the covariance instead of the uncentred second moment (off in the public code).

        Notes
        -----
        With ``of="mean"`` and unit rows, one plus the loss of the public code on one process. Features are not
        normalised here; the modules below return unit rows.

        References
        ----------
        .. [1] arXiv:2502.10385, Wu et al. 2025; github.com/RobinWu218/SimDINO, class MCRLoss.

        Examples
        --------
        >>> loss = SimDINOLoss(eps=0.5)
        >>> z = torch.nn.functional.normalize(torch.randn(4, 8, 3), dim=-1)
        >>> loss(z, z[:2]).shape
        torch.Size([])
        """

        def __init__(
            self, eps: float, gamma: float | None = None, *, of: Expanded = "student", centred: bool = False
        ) -> None:
            super().__init__()
            if not eps > 0 or not (gamma is None or gamma > 0):
                raise InputError(f"eps={eps} and gamma={gamma} must be positive (gamma may be None)")
            self.eps, self.gamma, self.of, self.centred = eps, gamma, of, centred

        def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
            """Loss of student features (V, N, d) of all views and teacher features (G, N, d) of the first G."""
            align, rate = self.terms(student, teacher)
            n, dim = student.shape[-2:]
            return align - ((dim + n) / (dim * n) if self.gamma is None else self.gamma) * rate

        def terms(self, student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """Alignment and rate (nats) apart; no gradient goes through the teacher."""
            teacher = teacher.detach()
            rate = expansion(student, teacher, eps=self.eps, of=self.of, centred=self.centred)
            return alignment(student, teacher), rate

        def extra_repr(self) -> str:
            return f"eps={self.eps:g}, gamma={self.gamma}, of={self.of!r}, centred={self.centred}"

    class AffineEncoder(nn.Module):
        """Unit-norm affine encoder ``z = (b + x W)/|b + x W|``: the model of the collapse laws, weights (D, d).

        Parameters
        ----------
        inputs, dim : int
            D and d.
        learn_bias : bool
            Whether b is trained (in the laws it is not); it starts at a random unit vector.
        scale : float
            Standard deviation of the first weights; 0 is the collapsed state.
        """

        bias: torch.Tensor

        def __init__(self, inputs: int, dim: int, *, learn_bias: bool = False, scale: float = 1e-3) -> None:
            super().__init__()
            self.weight = nn.Parameter(scale * torch.randn(inputs, dim))
            bias = nn.functional.normalize(torch.randn(dim), dim=0)
            if learn_bias:
                self.register_parameter("bias", nn.Parameter(bias))
            else:
                self.register_buffer("bias", bias)

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            """Unit rows (..., N, d) of samples (..., N, D)."""
            return unit_rows(X @ self.weight + self.bias)

    class SelfDistillation(nn.Module):
        r"""A student encoder and its teacher, whose parameters are an average of the student's.

        .. math:: \theta_t \leftarrow m\,\theta_t + (1-m)\,\theta_s

        Parameters
        ----------
        encoder : nn.Module
            The student; the teacher starts as a copy and is never trained by gradients.
        momentum : float, in [0, 1)

        Notes
        -----
        Call `update_teacher` after each step of the optimiser. Buffers (statistics of normalisation layers) are copied.

        Examples
        --------
        >>> model, loss = SelfDistillation(AffineEncoder(3, 4)), SimDINOLoss(eps=0.5)
        >>> views = torch.randn(2, 16, 3)
        >>> loss(*model(views)).backward()
        >>> model.update_teacher()
        """

        def __init__(self, encoder: nn.Module, momentum: float = 0.996) -> None:
            super().__init__()
            if not 0 <= momentum < 1:
                raise InputError(f"momentum={momentum} must lie in [0, 1); at 1 the teacher never moves")
            self.momentum = momentum
            self.student = encoder
            self.teacher = copy.deepcopy(encoder).requires_grad_(False)

        def forward(self, views: torch.Tensor, seen: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            """Student features of all views (V, N, ...) and teacher features of the first `seen` (default: all)."""
            with torch.no_grad():
                teacher = self.teacher(views[: len(views) if seen is None else seen])
            return self.student(views), teacher

        @torch.no_grad()
        def update_teacher(self, momentum: float | None = None) -> None:
            """Move the teacher towards the student; `momentum` overrides the module's, for schedules."""
            m = self.momentum if momentum is None else momentum
            for ours, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                ours.lerp_(theirs, 1 - m)
            for kept, current in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
                kept.copy_(current)

        def extra_repr(self) -> str:
            return f"momentum={self.momentum:g}"

    classes = {cls.__name__: cls for cls in (SimDINOLoss, AffineEncoder, SelfDistillation)}
    for cls in classes.values():
        cls.__module__, cls.__qualname__ = __name__, cls.__name__  # so that instances can be pickled
    return classes


__getattr__, __dir__ = on_first_use(__name__, __all__, _classes)
