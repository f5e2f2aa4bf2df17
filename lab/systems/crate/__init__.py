"""White-box transformer (CRATE): coding rate on subspaces, attention as its gradient step, sparse coding by ISTA.

Conventions. Tokens are rows, ``Z`` of shape (N, d); the papers use columns. Heads have frames ``U_k`` (d, p) with
orthonormal columns and head coordinates ``W_k = Z U_k`` (N, p). "Stacked-orthonormal" frames are also orthogonal to
each other; then every operator acts head by head and the ambient dimension does not matter. With
``beta = p/(N eps²)``, natural logarithm,

.. math::

    R^c(Z|U) = \\tfrac12 \\sum_k \\log\\det(I_p + \\beta W_k^\\top W_k), \\qquad
    \\nabla R^c = \\beta \\sum_k W_k (I_p + \\beta W_k^\\top W_k)^{-1} U_k^\\top .

A step is ``Z - kappa grad R^c``; what matters is the reduced step ``kappa beta`` (at most 2 for certain descent). Noisy
tokens have variance 1 on the subspace of their cluster and ``delta²`` on the others (`lab.data.tokens`); a
cluster's signal-to-noise ratio is ``|Z_k U_k U_k^T|/|Z_k (I - U_k U_k^T)|`` over its tokens, its gain the factor in
one step. Sparse coding: ``F(A) = lam |A|_1 + |Y - A D^T|²/2`` on ``A >= 0``, atoms are the columns of D (d, m).

Traps. (a) The gradient multiplies all tokens of a head by the same p x p matrix: it knows no clusters. (b) Softmax
attention replaces the Gram matrix of the Neumann expansion, of use only where ``beta lambda_max < 1``. (c) The layer
``Z + MSSA(Z)`` of formulas and code has dropped the contraction ``(1 - kappa beta) Z`` and raises R^c. (d) MSSA as
printed already contains one factor beta. (e) Published code calls ``eps`` what is eps² (0.01), scales scores by
1/sqrt p, and has a free output weight with bias. (f) Its layer-wise plots are captioned R^c(Z^(l+1/2)) but the
released hook reads the input of attention after layer normalisation, normalised head by head and token by token:
such a rate does not see the signal-to-noise ratio (crate/blind-rates). (g) ISTA starts at LN(z), which is not >= 0: the
descent inequality starts at the second step.

Rooms: `lab.systems.crate.theory` (closed forms, numpy only), `lab.models.white_box` (the operators),
`lab.data.tokens` (tokens near subspaces).

References
----------
.. [1] arXiv:2306.01129, Yu et al. 2023 (sparse rate reduction, MSSA, ISTA); long version arXiv:2311.13110.
.. [2] arXiv:2404.02446, Pai et al. 2024 (compression as denoising, structured decoder).
.. [3] arXiv:2405.20299, Yang et al. 2024 (overcomplete two-step ISTA).
.. [4] Ma and coauthors, Principles and Practice of Deep Representation Learning, chapters on white-box transformers.
"""
