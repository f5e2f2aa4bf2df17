r"""When diffusion models memorise: exact losses of denoisers, published crossover, and the trained transition.

Conventions. Samples are rows: training points ``X`` (N, d), cluster means (K, d). A sample is noised as
:math:`y=\alpha x+\sigma z`; everything depends on the time through the signal-to-noise ratio
:math:`\psi=\alpha^2/\sigma^2` alone. v is the variance of a cluster, m = M/N the model size per training point. Losses
are squared norms summed over coordinates, averaged over samples, never over d, and refer to x0 unless another target
is named (`lab.models.diffusion.loss_factor` converts). Natural logarithms.

Denoisers. *Generalising*: the true mixture. *Memorising*: the empirical measure on X, a softmax over training points.
*Partially memorising*: the same on the first M of them. *Trained*: a mixture of M learned means, one learned variance
and equal weights.

Traps. (a) Some texts average losses over coordinates. (b) Training with uniform times on the eps loss weights the x0
loss by psi. (c) The copy criterion compares squared distances: c = 1/9 is a ratio 1/3 of distances. (d) Where the
trained means start decides whether there is a transition at all: each plot names its initialisation.

Rooms: `lab.systems.memorization.theory` (closed forms and quadrature), `lab.systems.memorization.dynamics` (training);
denoisers and sampling are in `lab.models.denoisers` and `lab.models.diffusion`. One call, `predict_transition`, gives
the memorisation transition of a configuration by closed form, by clustering and by training.

References
----------
.. [1] arXiv:2508.17689, Buchanan, Pai, Ma, De Bortoli 2025 (edge of memorization).
.. [2] arXiv:2402.18491, Biroli, Bonnaire, de Bortoli, Mezard 2024 (speciation and collapse).
.. [3] arXiv:2010.02502, Song, Meng, Ermon 2020 (DDIM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["predict_transition"]

if TYPE_CHECKING:
    from lab.systems.memorization.prediction import predict_transition as predict_transition


def __getattr__(name: str) -> Any:
    """Load the prediction when it is first used: laws and listings do not need it."""
    if name == "predict_transition":
        from lab.systems.memorization import prediction

        return prediction.predict_transition
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
