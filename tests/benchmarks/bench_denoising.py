"""Failure rates by one-dimensional rows against full simulation at equal accuracy, and seeds in a batch against a loop.

Both ways of each pair run in turn, in one process. The accuracy of the full simulation is that of its draws: rows of
one draw share their keys and are not independent.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import jax
import numpy as np

from lab.arrays import give_jax_threads
from lab.data.tokens import noisy_subspace_tokens, noisy_subspace_tokens_jax
from lab.systems.attention_only import dynamics, reduced

give_jax_threads()
SETTING = {"heads": 4, "rank": 32, "delta": 0.35, "tau": 0.75}
ROWS = 4000


def measure(rounds, per_class):
    """Seconds and estimates of the foreign failure rate, full and reduced, in turn."""
    K, p, delta, tau = SETTING.values()
    found = {"full simulation": ([], []), "one-dimensional rows": ([], [])}
    for seed in range(rounds):
        begin = time.perf_counter()
        W = noisy_subspace_tokens(np.random.default_rng(seed), class_sizes=(per_class,) * K, rank=p, delta=delta).blocks
        rate = float(dynamics.step(W, (per_class,) * K, eta=0.5, tau=tau)[1].foreign)
        found["full simulation"][0].append(time.perf_counter() - begin)
        found["full simulation"][1].append(rate)
        begin = time.perf_counter()
        rate = float(reduced.foreign_failure(np.random.default_rng(seed), per_class=per_class, rows=ROWS, **SETTING)[0])
        found["one-dimensional rows"][0].append(time.perf_counter() - begin)
        found["one-dimensional rows"][1].append(rate)
    return found


def rates(sizes, rounds):
    """One row per size: rates, and how much longer the full simulation takes to the same standard error."""
    rows = []
    for per_class in sizes:
        found = measure(rounds, per_class)
        cost = {name: statistics.median(t) * statistics.variance(r) for name, (t, r) in found.items()}
        row = {"N": SETTING["heads"] * per_class, "rounds": rounds}
        for name, (seconds, values) in found.items():
            row[name] = {"rate": statistics.mean(values), "spread": statistics.stdev(values),
                         "seconds": statistics.median(seconds)}  # fmt: skip
        row["full_over_reduced"] = cost["full simulation"] / cost["one-dimensional rows"]
        rows.append(row)
    return rows


def batches(seeds, layers, rounds):
    """Seeds per second of `layers` thresholded layers: one program for all seeds, one call per seed."""
    sizes = (64,) * 4

    def run(key):
        W = noisy_subspace_tokens_jax(key, class_sizes=sizes, rank=48, delta=0.05).blocks
        return jax.lax.fori_loop(0, layers, lambda _, W: dynamics.step(W, sizes, eta=0.5, tau=0.6, gather=True)[0], W)

    keys = jax.random.split(jax.random.key(0), seeds)
    single, batched = jax.jit(run), jax.jit(jax.vmap(run))
    ways = {"batched": lambda: batched(keys), "loop": lambda: [single(key) for key in keys]}
    taken = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, call in ways.items():
            begin = time.perf_counter()
            jax.block_until_ready(call())
            taken[name].append(time.perf_counter() - begin)
    return [{"way": name, "seeds": seeds, "layers": layers, "seeds_per_second": seeds / statistics.median(t[1:])}
            for name, t in taken.items()]  # fmt: skip


def run(sizes=(64, 256), rounds=24, seeds=16, layers=6):
    """Both tables."""
    return rates(sizes, rounds), batches(seeds, layers, max(2, rounds // 8))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the tables as JSON to this file")
    parser.add_argument("--rounds", type=int, default=24)
    arguments = parser.parse_args()
    rows, batched = run(rounds=arguments.rounds)
    for row in rows:
        full, short = row["full simulation"], row["one-dimensional rows"]
        print(f"N={row['N']:5}  foreign failures {full['rate']:.4f} full, {short['rate']:.4f} reduced; to the same "
              f"standard error the full simulation takes {row['full_over_reduced']:.1f}x as long")  # fmt: skip
    for row in batched:
        print(f"{row['seeds']} seeds, {row['layers']} layers, {row['way']:8} {row['seeds_per_second']:8.1f} seeds/s")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "jax": jax.__version__,
                   "device": jax.devices()[0].platform}  # fmt: skip
        table = {"machine": machine, **SETTING, "rows": rows, "batches": batched}
        arguments.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
