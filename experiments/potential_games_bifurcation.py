"""Softmax equilibria of the routing game: stability, branches, and how far from Nash.

Left: largest eigenvalue of the derivative of the softmax map at the symmetric equilibrium, over the temperature; lines
from the (S, S) matrix of the theory, points from differences in all players and states; ticks below, predicted
critical temperatures. Middle: how far apart players
end. Right: Nash gap of the symmetric equilibrium (line: what entropy pays less what it charges; dashed: the bound).
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.potential_games import theory
from lab.systems.potential_games.laws.bifurcation import LOGIT_BIFURCATION, LOGIT_BRANCHES, Heated, critical


def near(count, span, gap):
    """Temperatures on both sides of the critical one of each game, from the share `gap` to the share `span` of it."""
    def axis(f):
        names = set(Heated.model_fields) - {"temperature"}
        away = np.linspace(gap, span, count)
        return (critical(Heated(**{k: f[k] for k in names})) * np.r_[1 - away[::-1], 1 + away]).tolist()
    return axis


def preset(players, owns, count, branches, replicates):
    games = {"players": players, "own": owns}
    return {
        LOGIT_BIFURCATION.id: Grid(**games, temperature=near(count, 0.35, 0.02)),
        LOGIT_BRANCHES.id: Grid(**games, temperature=near(branches, 0.35, 0.06), replicates=replicates),
    }


STUDY = Study(
    id="potential_games/bifurcation",
    laws=(LOGIT_BIFURCATION, LOGIT_BRANCHES),
    title="Where players of a symmetric game begin to tell each other apart, as the temperature of their choices falls",
    presets={
        "smoke": preset([4], [False], 4, 4, 2),
        "default": preset([2, 3, 4], [False, True], 8, 8, 4),
        "paper": preset([2, 3, 4], [False, True], 40, 40, 64),
    },
)


@STUDY.figure(ncols=3, size=(14, 4.6))
def draw(axes, rows, verdicts):
    stability = rows[rows["measurement"].str.endswith("instability")]
    branches = rows[rows["measurement"].str.endswith("branch")]
    games = list(stability.groupby(["own", "players"]))
    for (key, part), colour in zip(games, COLOURS, strict=False):
        p = point(part.iloc[0])
        tau_c = critical(p)
        name = rf"$N={p.players}$, {'own' if p.own else 'common'} rewards"
        draw_eigenvalues(axes[0], p, tau_c, part, colour, rf"{name}: $\tau_c={tau_c:.4g}$")
        draw_branches(axes[1], tau_c, branches[(branches["own"] == key[0]) & (branches["players"] == key[1])], colour,
                      name)  # fmt: skip
        draw_gap(axes[2], p, tau_c, colour, name)
    axes[0].axhline(1, color="0.6", linewidth=0.8)
    axes[0].set(xlabel=r"temperature $\tau$", ylabel="largest eigenvalue, symmetric equilibrium")
    axes[0].set_title(verdict_note(verdicts, LOGIT_BIFURCATION.id), fontsize=9)
    axes[1].axvline(1, color="0.6", linewidth=0.8, linestyle=":", label=r"predicted $\tau_c$")
    axes[1].set(xlabel=r"temperature $\tau/\tau_c$", ylabel=r"how far apart, $\max_i\|x_i-\bar x\|$")
    axes[1].set_title(verdict_note(verdicts, LOGIT_BRANCHES.id), fontsize=9)
    axes[2].set(xlabel=r"temperature $\tau$", ylabel="Nash gap of the symmetric equilibrium", xscale="log",
                yscale="log")  # fmt: skip
    axes[2].set_title(r"exact, and the bound $\tau\,\log 2/(1-\delta)$ (dashed); dots: $\tau_c$", fontsize=9)
    axes[0].legend(fontsize=7.5, loc="upper right")
    axes[1].legend(fontsize=7.5, loc="upper right")


def point(row):
    return Heated(**{name: row[name].item() for name in Heated.model_fields})


def draw_eigenvalues(ax, p, tau_c, part, colour, label):
    x, line = None, []
    scales = np.linspace(1.36, 0.64, 60)
    table = p.loads(own=p.own, averaged=p.own)
    for scale in scales:
        x = theory.symmetric_equilibrium(table, tau_c * scale, x)
        line.append(np.linalg.eigvals(theory.breaking_matrix(table, x, tau_c * scale)).real.max())
    ax.plot(tau_c * scales, line, color=colour)
    ax.axvline(tau_c, ymax=0.05, color=colour)
    ax.plot(part["temperature"], part["excess"] + 1, "o", color=colour, markersize=4, markerfacecolor="white",
            label=label)  # fmt: skip


def draw_branches(ax, tau_c, part, colour, label):
    ax.plot(part["temperature"] / tau_c, part["order"], "o", color=colour, markersize=3.5, alpha=0.7, label=label)


def draw_gap(ax, p, tau_c, colour, label):
    table, x, found = p.loads(own=p.own, averaged=p.own), None, []
    heats = tau_c * np.geomspace(10, 0.3, 50)
    game = p.game(own=p.own, averaged=p.own)
    for heat in heats:
        x = theory.symmetric_equilibrium(table, heat, x)
        found.append(theory.softmax_regrets(game, [np.stack([x, 1 - x], axis=1)] * p.players, heat).max())
    ax.plot(heats, found, color=colour, label=label)
    ax.plot(tau_c, np.interp(tau_c, heats[::-1], found[::-1]), "o", color=colour, markersize=5)
    ax.plot(heats, theory.entropy_gap_bound(heats, 2, p.discount), "--", color="0.4", linewidth=0.9)


if __name__ == "__main__":
    STUDY.cli()
