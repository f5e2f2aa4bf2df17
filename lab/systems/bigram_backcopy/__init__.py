r"""Bigram-Backcopy: why attention heads grow sinks on the first token, and when they do not.

Conventions. V ordinary tokens; the first token of a sequence has id V. Non-trigger queries v predict their next-token
law :math:`p_v`, a row of a bigram matrix; queries are rows. A context holds counts W_k of tokens (the first one not
counted, the query counted), :math:`W=\sum_kW_k`, token k has the value :math:`\xi_ke_k`, :math:`B_k=W_k\xi_k`.
:math:`\alpha_v` is the logit to the first token (the *sink logit*), :math:`\beta` its value; other logits are 0:

.. math:: \delta_v=\frac{e^{\alpha_v}\beta+B}{e^{\alpha_v}+W},\qquad q_v=\mathrm{softmax}(\log p_v+\delta_v),\qquad
          R=\sum_v\pi_v\,E\,KL(p_v\|q_v).

:math:`\sigma_v^2`, :math:`\kappa_{3,v}`: variance and third cumulant of B under p_v. Gradient flow of R in time t
(descent: t = rate x steps); |N| or Q is the number of queries. Natural logarithms, nats. Contexts are *shared* (one
sample, the same for all queries, as in the published theorem) or random.

The task. Sequences start with BOS; a trigger (a token of T) repeats the token in front of it, all others (N) follow the
bigram law P; tau_v is the mass that row v gives to T. Rows are sequences; targets are the n inputs shifted by one.
Losses are plain means over all n positions, BOS and triggers included.

Traps. (a) pi need not sum to one; it scales time, query by query. (b) Sink growth needs B to vary on the support of
p_v: equal counts and equal values give none, and neither does a deterministic row. (c) Half-logarithmic growth belongs
to a frozen value or to contexts that differ; with one shared context the joint flow ends at a finite logit. (d) Risks
of 1e-13 need KL without differences of close numbers (`lab.models.bigram_head`). (e) Adam is not gradient flow: its
sinks grow linearly. (f) The stationary law of the sequences is not that of P. A token always followed by a trigger is
absorbing; real texts have such tokens. (g) The token after BOS follows `init`, which has no triggers, not the unigram
law. (h) Endless sequences with copies that are nearly certain differ from those with certain copies.

Rooms: `lab.systems.bigram_backcopy.theory` (closed forms and quadrature), `lab.systems.bigram_backcopy.dynamics` (flows
in logarithmic time), `lab.models.bigram_head` (risk and gradients), `lab.data.bigram_contexts` (contexts),
`lab.data.sequences` (the task: bigrams, one's own text, samplers on host and device), `lab.models.bigram_construction`
(a transformer with written-down weights), `lab.models.transformers` (transformers to be trained),
`lab.systems.bigram_backcopy.training` (their training and what is read off them).

References
----------
.. [1] arXiv:2410.13835, Guo, Pai, Bai, Jiao, Jordan, Mei 2024 (active-dormant attention heads).
.. [2] arXiv:2306.00802, Bietti, Cabannes, Bouchacourt, Jegou, Bottou 2023 (birth of a transformer: the task).
"""
