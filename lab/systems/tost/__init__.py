"""Token statistics transformer (ToST): the variational coding rate, its gradient step, and what that step denoises.

Conventions. Tokens are rows, ``Z`` of shape (N, d); the papers use columns. Heads have frames ``U_k`` (d, p) with
orthonormal columns, tokens a membership ``Pi`` (N, K) whose rows sum to one, ``n_k = sum_i Pi_ik``. With second
moments ``S_k = Z^T diag(pi_k) Z / n_k`` and a concave ``f``,

.. math::

    R_{c,f} = \\sum_k \\tfrac{n_k}{2N} \\sum_i f(\\lambda_i(S_k)), \\qquad
    R^{var} = \\sum_k \\tfrac{n_k}{2N} \\sum_i f\\big((U_k^\\top S_k U_k)_{ii}\\big), \\qquad
    \\mathrm{TSSA} = -\\tau\\,\\nabla_Z R^{var}\\big|_{\\Pi}.

Default ``f(t) = log(1 + c t)``, natural logarithm; ``c`` is ``d/eps²``, the inverse of a noise variance. The step
enters through the reduced step ``s = tau c/N`` only: the published vision layer has ``s = 1``, and ``s = 2`` is the
edge of guaranteed descent. ``u = c l`` is a reduced second moment.

Traps. (a) The published layer has no tau/N and c = 1: it is ``tau = N`` in these units. (b) Its membership is a softmax
of head energies normalised over the *tokens* (logits of order p/N) times a learned temperature, not of
``|U_k^T z|²/(2 eta)``. (c) The frames of a trained layer are not orthonormal and its output weight is free: then
nothing here promises descent. (d) A concave non-decreasing f need not have a slope that decays to 0 (linear f). (e) The
language model's layer is causal (cumulative sums) and is another operator. (f) ``tau`` is the step here, not a
regularisation weight.

Rooms: `lab.systems.tost.theory` (closed forms, numpy only), `lab.models.white_box` (the operators),
`lab.models.torch_modules` (the layer), `lab.data.tokens` (tokens near subspaces).

References
----------
.. [1] arXiv:2412.17810, Wu, Ding, Lu, Pai, Zhang, Wang, Yu, Ma, Haeffele 2024 (token statistics transformer).
.. [2] Ma and coauthors, Principles and Practice of Deep Representation Learning, section on white-box transformers
   (restates the theorem, its corollary and the operator).
.. [3] arXiv:2306.01129, Yu et al. 2023 (sparse rate reduction, multi-head subspace self-attention).
"""
