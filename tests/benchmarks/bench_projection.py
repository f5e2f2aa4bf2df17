"""Projection onto class energies: K multipliers by Newton's method, and a cone program as published code solves it.

Run `make bench`, or `python tests/benchmarks/bench_projection.py --out times.json`. The map nearest to a Gaussian F
with ``||F X_j^T||_F^2 <= n_j``, float64, one thread. SCS and CLARABEL are called through cvxpy with their default
settings; what is not installed is left out with its reason. Candidates alternate, call by call.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
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

from lab.models.feasible_sets import class_energies, project_class_energies

SHAPES = ((3, 15, 20), (3, 40, 50))  # classes, d_z, d_x: a small game, and the published sizes
OURS = "multipliers, ours"


def problem(classes, d_z, d_x):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((classes, 4 * d_x, d_x))
    return rng.standard_normal((d_z, d_x)), X.mT @ X / (4 * d_x)


def candidates(F, C):
    """{name: call that returns the map}, and {name: reason} of those left out."""
    calls = {OURS: lambda: project_class_energies(F, C).map,
             f"{OURS}, 64 at once": lambda: project_class_energies(np.broadcast_to(F, (64, *F.shape)), C).map[0],
             }  # fmt: skip
    try:
        import cvxpy
    except ImportError as error:
        return calls, {name: str(error) for name in ("SCS", "CLARABEL")}
    skipped = {}

    def solved(name):
        near = cvxpy.Variable(F.shape)
        roots = [np.linalg.cholesky(one + 1e-14 * np.eye(len(one))) for one in C]
        bounds = [cvxpy.sum_squares(near @ root) <= 1 for root in roots]
        cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(near - F)), bounds).solve(solver=name)
        return near.value

    for name in ("SCS", "CLARABEL"):
        if name in cvxpy.installed_solvers():
            calls[name] = lambda name=name: solved(name)
        else:
            skipped[name] = f"cvxpy finds no {name}"
    return calls, skipped


def measure(calls, F, C, seconds):
    """Seconds of each call, and how far each map is from ours (relative) and outside the set."""
    ours = calls[OURS]()
    errors = {}
    for name, call in calls.items():
        found = call()
        errors[name] = {"apart": float(np.linalg.norm(found - ours) / np.linalg.norm(ours)),
                        "outside": float(max(0.0, class_energies(found, C).max() - 1))}  # fmt: skip
    times = {name: [] for name in calls}
    start, rounds = time.perf_counter(), 0
    while rounds < 3 or (time.perf_counter() - start < seconds and rounds < 200):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
        rounds += 1
    return times, errors


def run(shapes=SHAPES, seconds=5.0):
    """Rows of the table, and what was left out."""
    rows, left_out = [], []
    for classes, d_z, d_x in shapes:
        F, C = problem(classes, d_z, d_x)
        calls, skipped = candidates(F, C)
        left_out += [{"d_z": d_z, "d_x": d_x, "candidate": name, "reason": why} for name, why in skipped.items()]
        times, errors = measure(calls, F, C, seconds)
        for name, taken in times.items():
            ratios = [one / ours for one, ours in zip(taken, times[OURS], strict=True)]
            rows.append({"K": classes, "d_z": d_z, "d_x": d_x, "candidate": name, **errors[name], "calls": len(taken),
                         "milliseconds": 1e3 * statistics.median(taken), "over_ours": statistics.median(ratios)},
                        )  # fmt: skip
    return rows, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--seconds", type=float, default=5.0, help="per shape")
    arguments = parser.parse_args()
    rows, left_out = run(seconds=arguments.seconds)
    print(f"{'d_z':>4} {'d_x':>4} {'candidate':30} {'ms':>9} {'over ours':>10} {'apart':>9} {'outside':>9}")
    for row in rows:
        print(
            f"{row['d_z']:4} {row['d_x']:4} {row['candidate']:30} {row['milliseconds']:9.2f} {row['over_ours']:9.1f}x "
            f"{row['apart']:9.1e} {row['outside']:9.1e}"
        )
    for item in left_out:
        print(f"left out: {item['candidate']} at {item['d_z']} x {item['d_x']}: {item['reason']}")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        table = {"machine": machine, "precision": "float64", "rows": rows, "left_out": left_out}
        arguments.out.write_text(json.dumps(table, indent=1))
    return rows


if __name__ == "__main__":
    main()
