"""SimDINO: self-distillation kept from collapse by a coding-rate term.

Conventions. Samples are rows, views of one batch are (V, N, d); the papers use columns. Natural logarithm. With
distortion ``eps`` (squared wherever it enters), ``c = d/eps²``, ``alpha = c/N``:

.. math::

    L = \\tfrac12\\,\\mathbb E\\|z_s-\\mathrm{sg}(z_t)\\|^2-\\gamma R(z_s),\\qquad
    R(Z)=\\tfrac12\\log\\det(I+\\alpha Z^\\top Z),

student features `z_s` of one view, teacher features `z_t` of another view of the same sample; the teacher's weights are
an average of the student's with momentum m, ``W_t <- m W_t + (1-m) W_s``. A mode of the data has noise fraction
``nu = noise/(signal + noise)``. On unit rows half the squared distance is one minus the cosine similarity.

Traps. (a) The public code calls ``eps`` what is ``eps²`` (its 0.5 is ``eps = .707``). (b) Its rate is of the uncentred
second moment, the formula in print has a covariance: ``kappa = c²/(1+c)`` and ``c`` (they are the same to 1/c).
(c) By default it takes the rate of the mean of student and teacher features, which halves the push of gamma. (d) Its
gamma ``(d+N)/(dN)`` counts the samples of all processes, and so does its alpha, but the second moment is summed over
one process unless ``reduce_cov`` is set: c shrinks by the number of processes. (e) Without the stop-gradient all noise
fractions count twice.

Rooms: `lab.systems.simdino.theory` (closed forms, numpy only), `lab.systems.simdino.dynamics` (training of free
features and of normalised affine encoders), `lab.models.self_distillation` (the loss and the linear model),
`lab.models.torch_simdino` (torch modules), `lab.data.views` (views of one signal).

References
----------
.. [1] arXiv:2502.10385, Wu, Zhang, Pai, Wang, Singh, Yang, Gao, Ma 2025 (SimDINO); code RobinWu218/SimDINO.
.. [2] Ma-Lab-Berkeley/deep-representation-learning-book, chapter on real-world data, simplified contrastive learning.
"""
