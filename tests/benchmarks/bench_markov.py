"""Independent learning in a Markov game: batched numpy, one JAX scan, and a learner made of dictionaries.

Run `make bench`, or `python tests/benchmarks/bench_markov.py --out ratios.json`. The published routing game, b = 1, no
exploration, temperature 1e-6; one process, one thread on the host (XLA takes the threads it finds). The loop keeps
tables in dictionaries keyed by player, state and action and draws with `rng.choice`, as the public code does; a second
one also copies its dictionaries at every step to keep the history, as that code does too. Candidates alternate, round
by round; visits are compared before anything is timed.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, hence before any of them is imported

import argparse
import copy
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.arrays import give_jax_threads

give_jax_threads()

import jax

from lab.data.markov_games import routing_game
from lab.models.markov_learning import learn, learn_jax

A_POWER, HEAT = 0.5, 1e-6
LEARNERS, STEPS, PLAIN_STEPS = 64, 1000, 300
PLAIN, COPIES = "dictionaries", "dictionaries, copied every step"


def plain(game, rng, steps, *, copies=False):
    """One learner in dictionaries; visits of the states."""
    players, states, actions = range(game.players), range(game.states), range(game.actions[0])
    q = {(i, s, k): 0.0 for i in players for s in states for k in actions}
    policy = {(i, s): [1 / len(actions)] * len(actions) for i in players for s in states}
    visits, plays, history, s = dict.fromkeys(states, 0), dict.fromkeys(q, 0), [], 0
    for _ in range(steps):
        visits[s] += 1
        chosen = tuple(int(rng.choice(len(actions), p=policy[i, s])) for i in players)
        after = int(rng.choice(game.states, p=game.transitions[(s, *chosen)]))
        new = {}
        for i in players:
            plays[i, s, chosen[i]] += 1
            old = [q[i, s, k] for k in actions]
            weights = [np.exp((v - max(old)) / HEAT) for v in old]
            target = [w / sum(weights) for w in weights]
            ahead = sum(policy[i, after][k] * q[i, after, k] for k in actions)
            negentropy = sum(x * np.log(x) for x in policy[i, s] if x > 0)
            goal = game.rewards[(i, s, *chosen)] - HEAT * negentropy + game.discount * ahead
            new[i, s, chosen[i]] = old[chosen[i]] + plays[i, s, chosen[i]] ** -A_POWER * (goal - old[chosen[i]])
            step = 1 / visits[s]
            policy[i, s] = [x + step * (y - x) for x, y in zip(policy[i, s], target, strict=True)]
        q.update(new)
        if copies:
            history.append((copy.deepcopy(q), copy.deepcopy(policy)))
        s = after
    return np.array([list(visits.values())])


def candidates(game, rng):
    """{name: (call, learner steps per call)}; a call returns visits (learners, S)."""
    def scan(key):
        return learn_jax(game, key, chunks=STEPS // 500, chunk=500, a=A_POWER, temperature=HEAT)[0].visits

    jitted = jax.jit(jax.vmap(scan))
    keys = iter(range(100_000))
    return {
        f"one scan, JAX on {jax.devices()[0].platform}": (
            lambda: np.asarray(jitted(jax.random.split(jax.random.key(next(keys)), LEARNERS))), LEARNERS * STEPS,
        ),
        "batched, numpy": (lambda: learn(game, rng, STEPS, LEARNERS, a=A_POWER, temperature=HEAT)[0].visits,
                           LEARNERS * STEPS),
        PLAIN: (lambda: plain(game, rng, PLAIN_STEPS), PLAIN_STEPS),
        COPIES: (lambda: plain(game, rng, PLAIN_STEPS, copies=True), PLAIN_STEPS),
    }  # fmt: skip


def compare(game, rng):
    """At equal numbers of steps, shares of visits agree within six standard errors of the loop's learners."""
    loop = np.concatenate([plain(game, rng, STEPS) for _ in range(12)]) / STEPS
    error = loop.std(axis=0, ddof=1) / np.sqrt(len(loop))
    for name, (call, count) in candidates(game, rng).items():
        if count == LEARNERS * STEPS:
            share = np.asarray(call()).mean(axis=0) / STEPS
            if not (np.abs(share - loop.mean(axis=0)) < 6 * error).all():
                raise ArithmeticError(f"{name}: shares of visits {share}, the loop's {loop.mean(axis=0)}")


def run(seconds=8.0):
    """Rows of the table, one per candidate."""
    game, rng = routing_game(), np.random.default_rng(0)
    with jax.enable_x64(True):
        compare(game, rng)
        calls = candidates(game, rng)
        for call, _ in calls.values():
            call()
        speeds = {name: [] for name in calls}
        start, rounds = time.perf_counter(), 0
        while rounds < 5 or (time.perf_counter() - start < seconds and rounds < 100):
            for name, (call, count) in calls.items():
                begin = time.perf_counter()
                call()
                speeds[name].append(count / (time.perf_counter() - begin))
            rounds += 1
    return [
        {"candidate": name, "microseconds_per_step": 1e6 / statistics.median(values), "calls": rounds}
        | {f"over_{key}": statistics.median([a / b for a, b in zip(values, speeds[other], strict=True)])
           for key, other in (("plain", PLAIN), ("copies", COPIES))}
        for name, values in speeds.items()
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    rows = run(arguments.seconds)
    print(f"{'candidate':34} {'us per step':>12} {'over plain':>11} {'over copies':>12}")
    for row in rows:
        print(f"{row['candidate']:34} {row['microseconds_per_step']:12.3g} {row['over_plain']:10.1f}x "
              f"{row['over_copies']:11.1f}x")  # fmt: skip
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__,
                   "jax": jax.__version__, "device": str(jax.devices()[0])}  # fmt: skip
        table = {"machine": machine, "learners": LEARNERS, "steps": STEPS, "plain_steps": PLAIN_STEPS, "rows": rows}
        arguments.out.write_text(json.dumps(table, indent=1))
    return rows


if __name__ == "__main__":
    main()
