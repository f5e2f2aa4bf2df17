r"""White-box attention as functions with explicit frames: one function for NumPy, torch and JAX arrays.

Tokens are rows, `Z` of shape (..., N, d); the papers use columns. A layer has K heads with frames `U` of shape
(..., K, d, p), whose columns are orthonormal where a theorem says so (the operators do not need it). A membership `Pi`
of shape (..., N, K) holds non-negative weights; rows sum to one where a theorem says so. Leading axes are batch axes
and broadcast. Heads are never looped over. An operator of attention returns the update without the residual: a
layer is ``Z + tssa(Z, U, ...)``.

`heads`
    Head coordinates and back, steps that a layer makes with an update.
`attention`
    Multi-head subspace self-attention with any weights, thresholded softmax, its gather form.
`token_statistics`
    Variational coding rate of the heads, its gradient step.
`rates`
    Coding rate of the heads, its gradient, exact and to first order.
`ista`
    Sparse codes by iterative shrinkage.
`layers`
    The published layers put together, every difference an option.

References
----------
.. [1] arXiv:2412.17810, Wu et al. 2024 (token statistics transformer).
.. [2] arXiv:2306.01129, Yu et al. 2023 (multi-head subspace self-attention).
.. [3] arXiv:2506.03790, Wang et al. 2025 (attention-only denoising).
"""

from lab.models.white_box.attention import (
    Kind,
    Margins,
    Phi,
    attend,
    linear,
    mssa,
    relu,
    softmax,
    thresholded,
    thresholded_attend,
)
from lab.models.white_box.heads import (
    damped_step,
    from_head_coordinates,
    head_coordinates,
    normalise_tokens,
    rescaled_step,
)
from lab.models.white_box.ista import (
    ista,
    ista_orthogonal,
    ista_step,
    lasso_objective,
    overcomplete_block,
)
from lab.models.white_box.layers import (
    Norm,
    attention_layer,
    decoder_layer,
    encoder_layer,
    layer_norm,
    overcomplete_layer,
)
from lab.models.white_box.rates import (
    GradientForm,
    head_rate,
    head_rate_gradient,
    normalised_head_rate,
    subspace_rate,
    subspace_rate_gradient,
)
from lab.models.white_box.token_statistics import (
    LOG,
    Concave,
    head_membership,
    token_statistics,
    tssa,
    tssa_membership,
    variational_gradient,
    variational_rate,
)

__all__ = [
    "LOG",
    "Concave",
    "GradientForm",
    "Kind",
    "Margins",
    "Norm",
    "Phi",
    "attend",
    "attention_layer",
    "damped_step",
    "decoder_layer",
    "encoder_layer",
    "from_head_coordinates",
    "head_coordinates",
    "head_membership",
    "head_rate",
    "head_rate_gradient",
    "ista",
    "ista_orthogonal",
    "ista_step",
    "lasso_objective",
    "layer_norm",
    "linear",
    "mssa",
    "normalise_tokens",
    "normalised_head_rate",
    "overcomplete_block",
    "overcomplete_layer",
    "relu",
    "rescaled_step",
    "softmax",
    "subspace_rate",
    "subspace_rate_gradient",
    "thresholded",
    "thresholded_attend",
    "token_statistics",
    "tssa",
    "tssa_membership",
    "variational_gradient",
    "variational_rate",
]
