"""Attention-only denoising: tokens near subspaces, thresholded softmax attention, and when it has a linear rate.

Conventions. Tokens are rows; the paper uses columns. N tokens, K heads, N_1 tokens per cluster, subspaces of rank p
that are
mutually orthogonal: then everything happens in head coordinates ``W_k = Z U_k`` (K, N, p) and the ambient dimension
never enters. A token has standard normal coordinates in the head of its own cluster (*signal*) and noise of standard
deviation
delta in the others (*foreign*); there is no noise outside the subspaces. A layer is ``Z + eta MSSA(Z)`` with unscaled
scores and weights ``h(softmax)``, ``h(w) = tau 1{w > tau}`` unless said.

.. math::

    \\mathrm{SNR}_k = \\frac{\\|Z_k P_k\\|_F}{\\|Z_k (1 - P_k)\\|_F}, \\qquad
    \\mathrm{SNR}_k^{+} = (1 + \\eta\\tau)\\,\\mathrm{SNR}_k \\text{ under the events.}

*Events* of a layer: every token's self weight in its own head exceeds tau, and no weight of a foreign row does. They,
not the parameters, carry the theorem; `failures` says how probable they are, `boundaries` where they hold as N grows,
`depth` for how many layers. ``g = (1 + eta tau)^{l-1}`` is the growth of the signal before layer l.

Traps. (a) Foreign energy is summed by itself: total minus own loses all digits at large ratios. (b) Weights are
compared
with tau on their logarithms. (c) Public code divides scores by sqrt p: then ranks must grow like log² N, not log N. (d)
Softmax acts on all scores of a query; it is no elementwise function, and without the threshold it has no rate. (e)
"Linear rate" means geometric in the theorem, a straight line on a linear axis in the published figure.

Rooms: `lab.systems.attention_only.theory` (closed forms and quadrature), `reduced` (rows of one dimension, Monte
Carlo),
`dynamics` (layers and events), `certificate` (a user's own tokens and weights), `lab.models.white_box` (the operators),
`lab.data.tokens`.

References
----------
.. [1] arXiv:2506.03790, Wang, Lu, Yu, Pai, Qu, Ma 2025 (attention-only transformers, linear rate).
.. [2] Ma and coauthors, Principles and Practice of Deep Representation Learning, chapter 4 (restates the theorem).
.. [3] arXiv:2306.01129, Yu et al. 2023 (multi-head subspace self-attention).
"""

from typing import Any

__all__ = ["certify", "predict_gain"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lab.systems.attention_only import certificate

        return getattr(certificate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
