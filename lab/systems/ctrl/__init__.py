"""Closed-loop transcription (CTRL): games between a linear encoder and a linear decoder, and their equilibria.

Conventions. Samples are rows, the papers use columns. ``Z_j = X_j F^T``, ``Zhat_j = X_j (FGF)^T`` with an encoder F
(d_z, d_x) and a decoder G (d_x, d_z); n_j samples in class j, n in all, ``gamma_j = n_j/n``. ``beta = d_z/eps²`` is the
precision of the coding rate, ``alpha = beta/n``, and d_j = rank X_j. The leader is the encoder, the follower the
decoder; an equilibrium is one of Stackelberg: the leader's best choice, given that the follower answers best.

=========  =========================================  ================================  ============================
game       leader maximises                           follower maximises                strategies
=========  =========================================  ================================  ============================
CTRL-SSP   R(Z) + dist(Z, Zhat)                       -dist(Z, Zhat)                    Stiefel, or operator norm <= 1
CTRL-MSP   Delta R(Z) + sum_j dist(Z_j, Zhat_j)       -sum_j dist(Z_j, Zhat_j)          ||Z_j||² <= n_j; any G
CTRL-SG    Q - C                                      C <= c_max                        any
Binary     dist(Z, Zhat)                              minus the leader's                any
Multi      Delta R(Z) + Delta R(Zhat) + sum_j dist    minus the leader's                ||Z_j||² <= n_j; any G
=========  =========================================  ================================  ============================

Everything depends on the class moments ``X_j^T X_j/n_j`` alone (`lab.models.closed_loops`), and with an exact follower
the loop term vanishes at the leader's every choice: what is left of MSP is the constrained maximum of the rate
reduction, in closed form. A direction with squared singular value sigma² in a class orthogonal to the others is worth
``phi(alpha sigma²)/2``, ``phi(u) = log(1 + u) - gamma log(1 + u/gamma)``, the *slot function*: convex, then concave.

Traps. (a) d_j is a rank, at most n_j. (b) Class *energies* are ``||Z_j||² = n_j``, not unit samples. (c) Some published
code calls eps what is eps² here. (d) phi'(0) = 0: a rank once lost is never found again by ascent, so a leader that
does not restart reports gaps that are local maxima. (e) Zero distance never means Z = Zhat sample by sample. (f) An
untrained random encoder keeps sqrt(d_z/d_x) of every length: compare with that, not with zero. (g) Consistency in the
space of features says nothing about the data: the decoder may add anything that the encoder does not see.

Rooms: `lab.systems.ctrl.theory` (closed forms), `dynamics` (leaders), `laws`, `certificate` (a user's own encoder and
decoder), `lab.models.closed_loops` (the loop), `lab.models.linear_games` (players that learn),
`lab.models.feasible_sets`, `lab.data.game_subspaces`.

References
----------
.. [1] arXiv:2206.09120, Pai, Psenka, Chiu, Wu, Dobriban, Ma 2022 (CTRL-SSP, CTRL-MSP, CTRL-SG).
.. [2] arXiv:2111.06636, Dai, Tong, Li, Wu et al. 2022 (CTRL-Binary, CTRL-Multi).
.. [3] arXiv:2006.08558, Yu, Chan, You, Song, Ma 2020 (maximal coding rate reduction, which MSP rests on).
.. [4] Ma and coauthors, Principles and Practice of Deep Representation Learning (closed loops; Stackelberg games).
"""

from typing import Any

__all__ = ["certify"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lab.systems.ctrl import certificate

        return getattr(certificate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
