"""Do independent learners of the routing game find a Nash equilibrium? Four panels.

Top left: median Nash gap over steps, for powers (a, b) of the two steps and exploration theta; dashed, of what is
played with exploration. Top right: share of learners far from Nash against b, without exploration, and the exact
probability that a bandit's learner never tries its second action. Bottom left: final gaps of exploring learners on the
exact finite set of gaps of pure equilibria played with exploration. Bottom right: the Nash gap, and what the published
figure shows in its place.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.data.markov_games import routing_game
from lab.plot import COLOURS, verdict_note
from lab.systems.potential_games import theory
from lab.systems.potential_games.laws.exploration import LEARNED_GAP, LEARNED_LOADS, equilibria
from lab.systems.potential_games.laws.starvation import STARVATION
from lab.systems.potential_games.laws.timescale import EXCHANGED_POWERS, POWERS_PRINTED, STUCK, TWO_TIMESCALE


def preset(turns, stride, learners, exploration, starving, visits, replicates, trials):
    size = {"turns": turns, "stride": stride, "learners": learners}
    exploring = Grid(a=0.7, b=0.75, theta=exploration, replicates=replicates, **size)
    return {
        TWO_TIMESCALE.id: Grid(a=0.5, b=1.0, replicates=replicates, **size) + exploring,
        EXCHANGED_POWERS.id: Grid(a=0.5, b=1.0, replicates=replicates, **size),
        POWERS_PRINTED.id: Grid(a=0.5, b=starving, replicates=replicates, **size),
        LEARNED_GAP.id: exploring,
        LEARNED_LOADS.id: exploring,
        STARVATION.id: Grid(b=starving, visits=visits, replicates=trials),
    }


STUDY = Study(
    id="potential_games/learning",
    laws=(TWO_TIMESCALE, EXCHANGED_POWERS, POWERS_PRINTED, LEARNED_GAP, LEARNED_LOADS, STARVATION),
    title="Independent learners of a Markov potential game: who settles, where, and who never tries",
    presets={
        "smoke": preset(5, 400, 64, [0.1], [0.55, 0.65, 0.75, 0.85], [30], 1, 500),
        "default": preset(30, 500, 64, [0.05, 0.1, 0.15], [0.55, 0.65, 0.75, 0.85, 0.95], [30, 300], 2, 2000),
        "paper": preset(100, 10_000, 4096, [0.02, 0.05, 0.1, 0.15], np.linspace(0.52, 0.98, 17).tolist(),
                        [30, 300, 2000], 8, 20_000),
    },
)


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.2))
def draw(axes, rows, verdicts):
    learners = rows[rows["measurement"].str.endswith("learning")].copy()
    learners["reverse"] = learners["knobs"].str.contains('"reverse": 1.0')
    draw_paths(axes[0, 0], learners, verdicts)
    draw_starved(axes[0, 1], rows, learners, verdicts)
    draw_targets(axes[1, 0], learners, verdicts)
    draw_plotted(axes[1, 1], learners)


def together(part, name):
    """(records, all learners) of one setting."""
    return np.concatenate([np.asarray(v) for v in part[name]], axis=-1)


def settings(learners):
    first = learners[(learners["b"] == 1.0) & (learners["theta"] == 0)]
    starving = learners[(learners["b"] < 1) & (learners["theta"] == 0)]
    yield first[~first["reverse"]], r"$a=.5,\ b=1$", COLOURS[0]
    exploring = learners[learners["theta"] == 0.1]
    yield exploring, r"$a=.7,\ b=.75,\ \theta=.1$", COLOURS[2]
    chosen = starving["b"].min()
    yield starving[starving["b"] == chosen], rf"$a=.5,\ b={chosen:g}$: starved", COLOURS[4]
    yield first[first["reverse"]], r"exchanged: $a=1,\ b=.5$", COLOURS[1]


def draw_paths(ax, learners, verdicts):
    for part, name, colour in settings(learners):
        steps, gap = np.asarray(part["steps"].iloc[0]), np.maximum(together(part, "gap"), 1e-3)
        low, middle, high = np.quantile(gap, (0.25, 0.5, 0.75), axis=1)
        ax.plot(steps, middle, "o-", color=colour, markersize=3, label=name)
        ax.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        if part["theta"].iloc[0] > 0:
            ax.plot(steps, np.median(together(part, "played"), axis=1), "--", color=colour, label="   as played")
    part = next(settings(learners))[0]
    steps, middle = np.asarray(part["steps"].iloc[0]), np.median(together(part, "gap"), axis=1)
    ax.plot(steps[-3:], 0.6 * middle[-1] * steps[-1] / steps[-3:], color="0.4", linewidth=1, linestyle=":",
            label=r"slope $-1$")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="Nash gap: median, quartiles (below .001: at .001)",
           ylim=(2e-5, 60))  # fmt: skip
    ax.set_title("Four settings\n" + verdict_note(verdicts, TWO_TIMESCALE.id) + "\n"
                 + verdict_note(verdicts, EXCHANGED_POWERS.id), fontsize=9)  # fmt: skip
    ax.legend(loc="lower left", fontsize=7.5, ncols=2)


def draw_starved(ax, rows, learners, verdicts):
    part = learners[(learners["theta"] == 0) & ~learners["reverse"]]
    share = part.groupby("b")["stuck"].mean()
    count = part.groupby("b").size() * int(part["learners"].iloc[0])
    ax.errorbar(share.index, share, yerr=2 * np.sqrt(share * (1 - share) / count), fmt="s", color=COLOURS[1],
                markersize=5, label=f"routing game: Nash gap above {STUCK:g} at the end")  # fmt: skip
    bandit = rows[rows["measurement"].str.endswith("starved")]
    line = np.linspace(0.5, 1.0, 60)
    for (visits, one), colour in zip(bandit.groupby("visits"), COLOURS[2:], strict=False):
        ax.plot(line, [theory.starvation_probability(b, int(visits)) for b in line], color=colour)
        mean = one.groupby("b")["starved"].mean()
        ax.plot(mean.index, mean, "o", color=colour, markersize=4.5, markerfacecolor="white",
                label=f"bandit, {int(visits)} visits: second action never tried (line: exact)")  # fmt: skip
    ax.set(xlabel=r"power $b$ of the policy's step $n^{-b}$", ylabel="share of learners", ylim=(0, 1.02))
    ax.set_title(r"Starvation: $\theta=0$, temperature 0" + "\n" + verdict_note(verdicts, STARVATION.id) + "\n"
                 + verdict_note(verdicts, POWERS_PRINTED.id), fontsize=9)  # fmt: skip
    ax.legend(loc="upper right", fontsize=7.5)


def draw_targets(ax, learners, verdicts):
    game, profiles = routing_game(), equilibria()
    rng = np.random.default_rng(0)
    for k, (theta, part) in enumerate(learners[learners["theta"] > 0].groupby("theta")):
        targets = np.unique(theory.explored_gap(game, profiles, float(theta)).round(9)) / theta
        ax.hlines(targets, k - 0.36, k + 0.36, color="0.35", linewidth=0.9, zorder=1,
                  label="exact set, from the 864 pure equilibria" if k == 0 else None)  # fmt: skip
        settled = together(part, "settled").astype(bool)
        gap = together(part, "played")[-1] / theta
        for chosen, colour, name in ((settled, COLOURS[0], "settled"), (~settled, COLOURS[4], "not settled yet")):
            spread = k + rng.uniform(-0.28, 0.28, chosen.sum())
            ax.plot(spread, gap[chosen], "o", color=colour, markersize=3, alpha=0.6, markeredgewidth=0,
                    label=name if k == 0 else None)  # fmt: skip
    thetas = sorted(learners.loc[learners["theta"] > 0, "theta"].unique())
    ax.set_xticks(range(len(thetas)), [f"{t:g}" for t in thetas])
    ax.set(xlabel=r"exploration $\theta$", ylabel=r"Nash gap of what is played, over $\theta$", ylim=(13.5, 18.3))
    ax.set_title("Where exploring learners end\n" + verdict_note(verdicts, LEARNED_GAP.id) + "\n"
                 + verdict_note(verdicts, LEARNED_LOADS.id), fontsize=9)  # fmt: skip
    ax.legend(loc="upper center", fontsize=7.5, ncols=3)


def draw_plotted(ax, learners):
    part, _, _ = next(settings(learners))
    steps = np.asarray(part["steps"].iloc[0])
    for name, style, label in (("gap", "o-", "Nash gap at that step"),
                               ("plotted", "s--", "against the opponents' last policies")):  # fmt: skip
        value = together(part, name)
        colour = COLOURS[0] if name == "gap" else COLOURS[3]
        ax.plot(steps, np.median(value, axis=1), style, color=colour, markersize=4, label=label)
        ax.fill_between(steps, *np.quantile(value, (0.25, 0.75), axis=1), color=colour, alpha=0.15, linewidth=0)
    ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="gap: median, quartiles")
    ax.set_title(r"What the published figure shows ($a=.5$, $b=1$)" + "\nequal at the last step only", fontsize=9)
    ax.legend(loc="lower left", fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
