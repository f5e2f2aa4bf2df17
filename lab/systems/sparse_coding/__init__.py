"""Convolutional sparse coding: operators, rates of coding layers, recovery under local sparsity, bias of closed loops.

Conventions. Signals x (..., C, N) on a circle and codes gamma (..., M, N) keep samples in leading axes; the papers use
columns. Filters (M, C, n) have unit norm, N >= 2n - 1, and ``x = D gamma`` sums circular convolutions. A coding layer
minimises

.. math::

    F(\\gamma) = \\tfrac12 \\|x - D\\gamma\\|^2 + \\lambda \\|\\gamma\\|_1 \\qquad (\\text{optionally } \\gamma \\ge 0)

from zero with steps 1/L, ``L = |D|²``; the decoder is ``D gamma``. S is the support of the minimiser, ``s =
sigma_min²(D_S)/L`` its curvature, mu the mutual coherence. A *stripe* is 2n - 1 successive shifts of all filters, a
*patch* of a signal n entries of all channels.

Traps. (a) Published layers evaluate the gradient at the last iterate while they apply FISTA's momentum: a heavy ball,
equal to FISTA for two steps only and without a linear rate. (b) FISTA is asymptotically slower than ISTA; its bound is
about the start. (c) Power iteration estimates L from below. (d) Zero padding has a smaller L than the circle. (e) The
guarantees count nonzeros per stripe; they are far from sharp. (f) Short filters (n of 6 or less) recover fewer nonzeros
than Gaussian matrices, long ones as many. (g) scikit-learn's Lasso divides the misfit by the number of rows. (h) A
closed loop through the Lasso is biased by each pass; its codes' covariances differ by O(lam), their distance by
O(lam²): solve to tolerances far below lam².

Rooms: `lab.systems.sparse_coding.theory` (closed forms), `dynamics` (problems with a known minimiser),
`lab.models.convolutional_coding` (operators by FFT, ISTA, FISTA, exact Lasso, basis pursuit),
`lab.data.convolutional` (filters, codes, stripes, layered signals).

References
----------
.. [1] arXiv:2302.09347, Dai et al. 2023 (closed-loop transcription with a convolutional sparse coding layer).
.. [2] Beck and Teboulle 2009 (ISTA, FISTA); arXiv:1501.02888, Tao, Boley, Zhang (local rates).
.. [3] arXiv:1707.06066, Papyan, Sulam, Elad; arXiv:1607.08194, Papyan, Romano, Elad (stripes, layers).
.. [4] arXiv:1303.6672, Amelunxen, Lotz, McCoy, Tropp (phase transitions).
"""
