"""ISTA with the dictionary applied by FFT against ISTA with the dense matrix, side by side.

Run `make bench`, or `python tests/benchmarks/bench_convolution.py --out ratios.json`. Steps of one problem, M filters
of one channel, float64, one process, one thread. Candidates alternate, call by call, and ratios are taken within a
round, so that a busy machine slows both sides. First calls are compared with each other; then they count.
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

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.data.convolutional import dictionary, filter_bank, spike_codes
from lab.models import convolutional_coding as coding
from lab.models import white_box

FILTERS, SIZE, STEPS, LAM = 4, 11, 20, 0.1
LENGTHS = (64, 128, 256, 512, 1024)
OURS, DENSE, GRAM = "FFT, ours", "dense matrix, white-box ISTA", "dense Gram matrix"


def gram_steps(gram, pull, eta):
    """ISTA with ``D^T D`` and ``D^T x`` kept: one product a step."""
    code = np.zeros_like(pull)
    for _ in range(STEPS):
        moved = code - eta * (gram @ code - pull)
        code = np.sign(moved) * np.maximum(np.abs(moved) - eta * LAM, 0)
    return code


def candidates(length):
    """Candidates {name: call} on one problem; what may be kept between calls is made here."""
    rng = np.random.default_rng(length)
    filters = filter_bank(rng, count=FILTERS, size=SIZE)
    signal = coding.decode(spike_codes(rng, count=FILTERS, length=length, nonzeros=length // 8), filters)
    D, eta = dictionary(filters, length), 1 / float(coding.operator_norm(filters, length))
    gram, pull = D.T @ D, D.T @ signal.ravel()
    return {
        OURS: lambda: coding.encode(signal, filters, lam=LAM, steps=STEPS, step=eta).ravel(),
        DENSE: lambda: white_box.ista(signal, D, eta=eta, lam=LAM, steps=STEPS, nonnegative=False).ravel(),
        GRAM: lambda: gram_steps(gram, pull, eta),
    }


def measure(calls, seconds):
    """Seconds of each call of each candidate; first calls warm up and are compared."""
    expected = calls[OURS]()
    for name, call in calls.items():
        error = float(np.abs(call() - expected).max())
        if not error < 1e-12:
            raise ArithmeticError(f"{name} differs from ours by {error:.1e}; 1e-12 is allowed")
    times, start, rounds = {name: [] for name in calls}, time.perf_counter(), 0
    while rounds < 3 or (time.perf_counter() - start < seconds and rounds < 500):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
        rounds += 1
    return times


def run(lengths=LENGTHS, seconds=3.0):
    """Rows of the table, one per length and candidate."""
    rows = []
    for length in lengths:
        times = measure(candidates(length), seconds)
        for name, taken in times.items():
            ratios = [own / ours for own, ours in zip(taken, times[OURS], strict=True)]
            step = 1e6 * statistics.median(taken) / STEPS
            rows.append({"N": length, "candidate": name, "microseconds_per_step": step, "calls": len(taken),
                         "over_ours": statistics.median(ratios)})  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--seconds", type=float, default=3.0, help="per length")
    arguments = parser.parse_args()
    rows = run(arguments.lengths, arguments.seconds)
    print(f"{'N':>5} {'candidate':30} {'us a step':>10} {'over ours':>10}")
    for row in rows:
        print(f"{row['N']:5} {row['candidate']:30} {row['microseconds_per_step']:10.1f} {row['over_ours']:9.2f}x")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        table = {"machine": machine, "M": FILTERS, "n": SIZE, "steps": STEPS, "precision": "float64", "rows": rows}
        arguments.out.write_text(json.dumps(table, indent=1))
    return rows


if __name__ == "__main__":
    main()
