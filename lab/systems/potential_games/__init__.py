r"""Markov potential games: what a potential is, where independent learners end, and which of them never do.

Conventions. I players, S states, :math:`A_i` actions; rewards ``r`` (I, S, A_1, ..., A_I), kernel ``P``
(S, A_1, ..., A_I, S), discount :math:`\delta<1`. A policy is a list of I arrays (S, A_i). Values
:math:`V_i(s)=E_s\sum_t\delta^tr_i` are not normalised; :math:`Q_i(s,a_i)` averages over what the others play. The *Nash
gap* is :math:`\max_{i,s}(V_i^{\max}(\pi_{-i})(s)-V_i(\pi)(s))`, the maximum over all policies of player i. A game has a
*potential* :math:`\Phi` if :math:`V_i(\pi_i',\pi_{-i})(s)-V_i(\pi)(s)=\Phi(\pi_i',\pi_{-i})(s)-\Phi(\pi)(s)` for every
unilateral change and every state.

Learning (`lab.models.markov_learning`): n(s) visits, steps :math:`\tilde n^{-a}` of the values q and :math:`n^{-b}` of
the policies towards :math:`\mathrm{softmax}(q/\tau)`, actions drawn from :math:`(1-\theta)\pi+\theta/A`. a < b: values
are the fast scale.

Traps. (a) The published routing example gives *safe* routes the weight 2 and unsafe ones 1, against their names. (b) A
figure that sets own policies of step k against the opponents' last ones does not show the Nash gap at k. (c) Without
exploration and with :math:`\tau\approx0`, powers b < 1 starve actions: wrong lock-in has positive probability,
whatever a. (d) :math:`\tau=10^{-6}` is zero next to rewards of size 10. (e) With exploration the played policies are no
Nash equilibrium: their gap is of order theta; that of the unexplored policies goes to zero. (f) Entropy belongs to the
player's own policy in every later state; in q itself it is a constant of the state and changes no softmax. (g)
Individual rewards with a kernel that depends on the actions have no potential, though every stage has one.

Rooms: `lab.systems.potential_games.theory` (linear solves and closed forms), `dynamics` (sweeps, softmax iterations),
`certificate` (one's own games and policies), `lab.models.markov_learning` (learners), `lab.data.markov_games` (games).

References
----------
.. [1] arXiv:2205.14590, Maheshwari, Wu, Pai, Sastry 2022 (decentralised learning in Markov potential games).
.. [2] Monderer and Shapley 1996 (potential games); Rosenthal 1973 (congestion games).
.. [3] Kakade and Langford 2002 (performance difference).
"""

from typing import Any

__all__ = ["certify", "game_from_arrays", "nash_gap"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lab.systems.potential_games import certificate

        return getattr(certificate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
