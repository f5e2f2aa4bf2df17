"""The exact follower of CTRL-MSP against an inner loop of gradient steps, side by side.

Run `make bench`, or `python tests/benchmarks/bench_games.py --out ratios.json`. One answer of the decoder to a given
encoder, at the published sizes (three classes of 500 samples on subspaces of dimensions 3, 4, 5 in R^50, d_z = 40,
eps² = 1): the canonical decoder, the pseudo-inverse, and 1000 steps of Adam on the loop distance, as published, once on
class moments and once on all samples with torch. What the answers leave of the follower's gap is reported with the
time. Candidates alternate; ratios are taken within a round.
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

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.data.game_subspaces import correlated_subspaces
from lab.models import closed_loops

SIZES, D_X, D_Z, BETA, RATE = (500, 500, 500), 50, 40, 40.0, 1e-3
EXACT = "canonical decoder"


def adam(gradient, G, steps):
    """Adam with its usual constants, on arrays of NumPy or torch."""
    first = second = 0.0
    for t in range(1, steps + 1):
        slope = gradient(G)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        G = G - RATE * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)) ** 0.5 + 1e-8)
    return G


def sample_distance(X, F, G):
    """Sum of the class distances of samples, as published code has it: log-determinants of all features, float64."""
    total = 0.0
    for part in torch.split(X, SIZES):
        Z = part @ F.T
        again = Z @ G.T @ F.T
        both = torch.cat([Z, again])
        rates = [torch.logdet(torch.eye(D_Z, dtype=X.dtype) + BETA / len(A) * A.T @ A) / 2 for A in (both, Z, again)]
        total = total + rates[0] - rates[1] / 2 - rates[2] / 2
    return total


def candidates(steps):
    rng = np.random.default_rng(0)
    X = correlated_subspaces(rng, ns=SIZES, d_x=D_X, ds=(3, 4, 5)).Z
    moments, fractions = closed_loops.class_moments(X, SIZES)
    F, start = rng.standard_normal((D_Z, D_X)) / D_X**0.5, rng.standard_normal((D_X, D_Z)) / D_X**0.5
    rows, encoder = torch.from_numpy(X), torch.from_numpy(F)

    def on_samples(G):
        G = G.detach().requires_grad_()
        return torch.autograd.grad(sample_distance(rows, encoder, G), G)[0]

    def on_moments(G):
        return closed_loops.loop_slopes(F, G, moments, BETA).decoder

    return {
        EXACT: lambda: closed_loops.canonical_decoder(F, closed_loops.pooled(moments, fractions)),
        "pseudo-inverse": lambda: closed_loops.pinv_decoder(F),
        f"{steps} steps on moments": lambda: adam(on_moments, start, steps),
        f"{steps} steps on samples": lambda: adam(on_samples, torch.from_numpy(start), steps).detach().numpy(),
    }, lambda G: float(np.sum(closed_loops.loop_distances(F, G, moments, BETA)))


def run(steps=1000, rounds=3):
    """Rows of the table, one per candidate."""
    torch.set_num_threads(1)
    calls, gap = candidates(steps)
    times, gaps = {name: [] for name in calls}, {}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            answer = call()
            times[name].append(time.perf_counter() - begin)
            gaps[name] = gap(answer)
    return [
        {"candidate": name, "milliseconds": 1e3 * statistics.median(taken), "gap": gaps[name],
         "over_exact": statistics.median(own / ours for own, ours in zip(taken, times[EXACT], strict=True))}
        for name, taken in times.items()
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = run(arguments.steps, arguments.rounds)
    print(f"{'candidate':24} {'ms':>10} {'over exact':>11} {'gap left, nats':>15}")
    for row in rows:
        print(f"{row['candidate']:24} {row['milliseconds']:10.2f} {row['over_exact']:10.0f}x {row['gap']:15.2e}")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        arguments.out.write_text(json.dumps({"machine": machine, "precision": "float64", "rows": rows}, indent=1))
    return rows


if __name__ == "__main__":
    main()
