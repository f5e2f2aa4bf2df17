"""Training small transformers on bigram-backcopy sequences: seeds in one program against one by one; flow evaluations.

Run `make bench`, or `python tests/benchmarks/bench_transformers.py --out ratios.json`. Models of the laws (one layer,
one head, width 32, V = 12, 12 inputs, batch 16), Adam, float32; the compiled programs alternate, round by round, and
ratios are taken within a round. Before anything is timed the two ways must train alike. Last table: gradients of the
head of the flows (`lab.models.bigram_head`), float64 NumPy, per second.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, hence before any of them is imported

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.data.sequences import BackcopyTask, bigram_lazy_zipf, contexts
from lab.models import bigram_head
from lab.models import transformers as tf
from lab.systems.bigram_backcopy.training import SmallTransformer

STEPS = 100
"""Steps of one timed call."""

TOGETHER, ALONE = "one program", "one by one"


def trainers(seeds):
    """{way: call}, each of which trains `seeds` models for so many steps; first calls compile, and are compared."""
    p = SmallTransformer()
    make = tf.optimiser(p.rate)

    def begin(key):
        return tf.start(p.model, make, key)

    def train(key, run):
        return tf.advance(p.model, p.task, make, key, run, steps=STEPS, batch=p.batch)

    keys = jax.random.split(jax.random.key(0), seeds)
    starts = jax.jit(jax.vmap(begin))(keys)
    each = [(keys[i], jax.tree.map(lambda part, i=i: part[i], starts)) for i in range(seeds)]
    together, alone = jax.jit(jax.vmap(train)), jax.jit(train)
    calls = {TOGETHER: lambda: together(keys, starts), ALONE: lambda: [alone(*one) for one in each]}
    first = jax.tree.map(lambda part: part[0], calls[TOGETHER]().weights)
    for a, b in zip(*map(jax.tree.leaves, (first, calls[ALONE]()[0].weights)), strict=True):
        error = float(jnp.max(jnp.abs(a - b)))
        if not error < 0.05:
            raise ArithmeticError(f"weights of the two ways differ by {error:.2g}: another run's would differ by one")
    return calls


def training(counts, budget):
    rows = []
    for seeds in counts:
        calls, taken, start = trainers(seeds), {TOGETHER: [], ALONE: []}, time.perf_counter()
        while len(taken[TOGETHER]) < 3 or time.perf_counter() - start < budget:
            for way, call in calls.items():
                begin = time.perf_counter()
                jax.block_until_ready(call())
                taken[way].append(time.perf_counter() - begin)
        ratio = statistics.median(a / b for a, b in zip(taken[ALONE], taken[TOGETHER], strict=True))
        rows += [
            {"seeds": seeds, "way": way, "steps_per_second": seeds * STEPS / statistics.median(found),
             "runs_per_minute": 60 * seeds * STEPS / statistics.median(found) / SmallTransformer().steps,
             "one_by_one_over": ratio if way == TOGETHER else 1.0}
            for way, found in taken.items()
        ]  # fmt: skip
    return rows


def flows(sizes, budget):
    """Gradients per second of a head with V tokens and S context samples of each query."""
    rows, rng = [], np.random.default_rng(0)
    for V, samples in sizes:
        task = BackcopyTask.make(bigram_lazy_zipf(V), 3)
        seen = contexts(task, rng, length=32, samples=samples)
        alpha, beta = rng.normal(size=len(seen.shares)), rng.normal(size=V)
        taken, start = [], time.perf_counter()
        while len(taken) < 5 or time.perf_counter() - start < budget:
            begin = time.perf_counter()
            bigram_head.gradients(alpha, beta, seen)
            taken.append(time.perf_counter() - begin)
        rows.append({"V": V, "samples": samples, "gradients_per_second": 1 / statistics.median(taken)})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the tables as JSON to this file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0, help="per number of seeds")
    arguments = parser.parse_args()
    rows = training(arguments.seeds, arguments.seconds)
    head = flows(((8, 20), (16, 50), (64, 100)), arguments.seconds / 5)
    print(f"steps of single models, float32, {jax.devices()[0].platform}")
    for row in rows:
        print(f"{row['seeds']:4} seeds  {row['way']:12} {row['steps_per_second']:8.0f} steps/s  "
              f"{row['runs_per_minute']:6.1f} runs/min  one by one takes {row['one_by_one_over']:.2f} times as long")
    for row in head:
        size = f"V={row['V']:3}, S={row['samples']:3}"
        print(f"head of the flows, {size}: {row['gradients_per_second']:8.0f} gradients/s")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__,
                   "jax": jax.__version__, "device": str(jax.devices()[0])}  # fmt: skip
        arguments.out.write_text(json.dumps({"machine": machine, "training": rows, "flows": head}, indent=1))
    return rows, head


if __name__ == "__main__":
    main()
