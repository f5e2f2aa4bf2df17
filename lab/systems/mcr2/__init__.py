"""Coding rate reduction (MCR²) and the landscape of its regularised objective.

Conventions. Samples are rows, ``Z`` of shape (N, d); the papers use columns. Natural logarithm. With distortion
``eps`` (squared wherever it enters), ``c = d/eps²``, ``alpha = c/N``, ``alpha_k = c/N_k``:

.. math::

    \\Delta R(Z) = \\tfrac12\\log\\det(I+\\alpha Z^\\top Z)
                   - \\sum_k \\tfrac{N_k}{2N}\\log\\det(I+\\alpha_k Z_k^\\top Z_k),
    \\qquad F(Z) = \\Delta R(Z) - \\tfrac{\\lambda}{2}\\|Z\\|_F^2 .

Every scalar law depends on three reduced variables only: ``tau = lambda/alpha``, ``u = alpha sigma²`` for a
singular value ``sigma``, and the class fraction ``x = N_k/N`` (or the effective fraction ``theta`` of a group of
overlapping classes).

Traps. (a) The official MCR² and SimDINO codes call ``eps`` what is ``eps²``; the PyPI package ``mcr2`` takes
``eps``. (b) The official regularised loss has ``lmb ||Z||²`` without ½: ``lmb = lambda/2``. (c) Some texts write
``R(Z_k)`` for the class term already weighted by ``N_k/N``. (d) Second moments are not centred.

Rooms: `lab.systems.mcr2.theory` (closed forms, numpy only), `lab.systems.mcr2.dynamics` (ascent, maximisation,
census of critical points).

References
----------
.. [1] arXiv:2006.08558, Yu, Chan, You, Song, Ma 2020 (maximal coding rate reduction).
.. [2] arXiv:2406.01909, Wang, Liu, Pai, Yu, Zhu, Qu, Ma 2024 (landscape of the regularised objective).
"""
