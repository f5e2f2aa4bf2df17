"""Exact denoiser of a mixture of low-rank Gaussians, and how close projections come to it.

Conventions. Samples are rows. Component k has weight ``w_k``, variance ``lambda_k`` on the range of the frame ``U_k``
(d, p_k) with orthonormal columns and none elsewhere; frames may overlap, ranks may differ. Noise has variance
``s2 = sigma²``. The denoiser is the posterior mean

.. math::

    D(z) = \\sum_k r_k(z)\\,\\frac{\\lambda_k}{\\lambda_k + s_2}\\,U_k U_k^\\top z, \\qquad
    r_k \\propto w_k \\Bigl(1 + \\frac{\\lambda_k}{s_2}\\Bigr)^{-p_k/2}
        \\exp\\frac{\\lambda_k |U_k^\\top z|^2}{2 s_2 (s_2 + \\lambda_k)} .

The softmax runs over the components ("heads") for each sample, not over samples: it is the membership of token
statistics attention, not the attention of CRATE.

Traps. (a) With unequal ranks or variances the determinant factor is essential. (b) The published temperature of the
membership is s2; it is ``s2 (1 + s2/lambda)``. (c) The published denoiser projects without the shrinkage
lambda/(lambda + s2): its error beyond the best is ``p s2²`` at small noise, whatever the labels. (d) For rank 1 and 2
the error from wrong labels is as large, or larger.

Rooms: `lab.systems.mixtures.theory` (closed forms, numpy only), `lab.models.low_rank_denoisers` (the denoiser),
`lab.data.low_rank_mixtures` (samples).

References
----------
.. [1] arXiv:2306.01129, Yu et al. 2023, denoising against subspaces (columns there, rows here).
.. [2] arXiv:2412.17810, Wu et al. 2024, membership of tokens in heads.
"""
