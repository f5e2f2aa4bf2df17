"""Sampling bigram-backcopy sequences: vectorised on the host and on JAX's device, against a per-token Python sampler.

Run `make bench`, or `python tests/benchmarks/bench_sequences.py --out ratios.json`. One process, one thread on the host
(XLA takes the threads it finds). The per-token sampler is what the published code of the task does: for each sequence,
token by token, one draw `rng.choice(V, p=row)`; a second one draws by bisection in prepared distribution functions, the
fastest plain loop we know. Candidates alternate, round by round, and ratios are taken within a round, so that a busy
machine slows both sides. Frequencies of triggers are compared with the exact law before anything is timed.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, hence before any of them is imported

import argparse
import bisect
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.data.sequences import BackcopyTask, bigram_dirichlet, bigram_lazy_zipf, sample_backcopy, sample_backcopy_jax
from lab.systems.bigram_backcopy import theory

V, TRIGGERS, LENGTH = 64, 3, 256
BATCH, PLAIN_BATCH = 2048, 8
OURS, PLAIN = "vectorised, host", "per token, rng.choice"


def per_token(task, rng, batch, length):
    """Each sequence by itself, each token by `rng.choice`."""
    size, triggers, rows = len(task.P), set(task.triggers), task.P
    sequences = []
    for _ in range(batch):
        x = [size, int(rng.choice(size, p=task.init))]
        while len(x) <= length:
            x.append(x[-2] if x[-1] in triggers else int(rng.choice(size, p=rows[x[-1]])))
        sequences.append(x)
    return np.array(sequences)


def per_token_bisection(task, rng, batch, length):
    """Each sequence by itself, each token by bisection in the distribution function of its row."""
    size, triggers = len(task.P), set(task.triggers)
    rows, first = np.cumsum(task.P, axis=1).tolist(), np.cumsum(task.init).tolist()
    sequences = []
    for _ in range(batch):
        u = rng.random(length).tolist()
        x = [size, min(bisect.bisect(first, u[0]), size - 1)]
        for j in range(1, length):
            x.append(x[-2] if x[-1] in triggers else min(bisect.bisect(rows[x[-1]], u[j]), size - 1))
        sequences.append(x)
    return np.array(sequences)


def candidates(task, rng):
    """{name: (call, tokens per call)}"""
    jitted = jax.jit(lambda key: sample_backcopy_jax(task, key, BATCH, LENGTH))
    keys = iter(jax.random.split(jax.random.key(0), 10_000))
    return {
        OURS: (lambda: sample_backcopy(task, rng, BATCH, LENGTH), BATCH * LENGTH),
        PLAIN: (lambda: per_token(task, rng, PLAIN_BATCH, LENGTH), PLAIN_BATCH * LENGTH),
        "per token, bisection": (lambda: per_token_bisection(task, rng, PLAIN_BATCH, LENGTH), PLAIN_BATCH * LENGTH),
        f"vectorised, JAX on {jax.devices()[0].platform}": (
            lambda: jitted(next(keys)).block_until_ready(), BATCH * LENGTH,
        ),
    }  # fmt: skip


def compare(calls, task):
    """First calls, which warm up: the share of triggers is the exact one within six standard errors of sequences."""
    chain = theory.augmented_chain(task.P, task.triggers, task.init)
    expected = theory.token_law(chain, theory.finite_laws(chain, LENGTH)).mean(0)[list(task.triggers)].sum()
    for name, (call, _) in calls.items():
        share = np.isin(np.asarray(call())[:, 1:], task.triggers).mean(axis=1)
        error = share.std(ddof=1) / np.sqrt(len(share))
        if not abs(share.mean() - expected) < 6 * error:
            raise ArithmeticError(f"{name}: share of triggers {share.mean():.4f}, exact {expected:.4f}")


def run(seconds=5.0):
    """Rows of the table, one per family of bigrams and candidate."""
    rng, rows = np.random.default_rng(0), []
    families = {"lazy Zipf, r=0.3": bigram_lazy_zipf(V), "Dirichlet, c=5": bigram_dirichlet(rng, V, 5.0, floor=1e-6)}
    for family, P in families.items():
        task = BackcopyTask.make(P, TRIGGERS)
        calls = candidates(task, rng)
        compare(calls, task)
        speeds = {name: [] for name in calls}
        start, rounds = time.perf_counter(), 0
        while rounds < 5 or (time.perf_counter() - start < seconds and rounds < 200):
            for name, (call, tokens) in calls.items():
                begin = time.perf_counter()
                call()
                speeds[name].append(tokens / (time.perf_counter() - begin))
            rounds += 1
        for name, values in speeds.items():
            ratios = [own / plain for own, plain in zip(values, speeds[PLAIN], strict=True)]
            rows.append(
                {"bigrams": family, "candidate": name, "tokens_per_second": statistics.median(values)}
                | {"fastest": max(values), "over_per_token": statistics.median(ratios), "calls": rounds}
            )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--seconds", type=float, default=5.0, help="per family of bigrams")
    arguments = parser.parse_args()
    rows = run(arguments.seconds)
    print(f"{'bigrams':18} {'candidate':26} {'tokens/s':>10} {'fastest':>10} {'over rng.choice':>16}")
    for row in rows:
        print(f"{row['bigrams']:18} {row['candidate']:26} {row['tokens_per_second']:10.3g} {row['fastest']:10.3g} "
              f"{row['over_per_token']:15.1f}x")  # fmt: skip
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__,
                   "jax": jax.__version__, "device": str(jax.devices()[0])}  # fmt: skip
        task = {"V": V, "triggers": TRIGGERS, "n": LENGTH, "sequences": BATCH, "sequences_per_token": PLAIN_BATCH}
        arguments.out.write_text(json.dumps({"machine": machine, **task, "rows": rows}, indent=1))
    return rows


if __name__ == "__main__":
    main()
