"""Coding rates against the PyPI package `mcr2` and against textbook dense-membership code: ratios measured in one run.

Run as a script: `python tests/benchmarks/bench_coding_rate.py --out ratios.json`. One process, one thread. Candidates
alternate, call by call, and ratios are taken within a round, so that a busy machine slows both sides. What is left out
is listed with its reason.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, hence before any of them is imported

import argparse
import importlib.util
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.objectives.coding_rate import rate_reduction, rate_reduction_gradient, value_and_gradient

EPS = 0.5
SIZES = {"small": (128, 2000, 10), "large": (512, 20000, 100)}


def textbook_reduction(Z, Pi):
    """Rate reduction as the definition reads, with one dense N x N diagonal matrix of membership per class."""
    count, dim = Z.shape
    total = np.linalg.slogdet(np.eye(dim) + dim / (count * EPS**2) * Z.T @ Z).logabsdet / 2
    dense = np.stack([np.diag(column) for column in Pi.T])
    for D in dense:
        mass = np.trace(D)
        gram = Z.T @ D @ Z
        total -= mass / (2 * count) * np.linalg.slogdet(np.eye(dim) + dim / (mass * EPS**2) * gram).logabsdet
    return total


def weighted_reduction(Z, Pi):
    """The same with K x N weights in place of N x N matrices."""
    count, dim = Z.shape
    total = np.linalg.slogdet(np.eye(dim) + dim / (count * EPS**2) * Z.T @ Z).logabsdet / 2
    for weights in Pi.T:
        mass = weights.sum()
        gram = (weights[:, None] * Z).T @ Z
        total -= mass / (2 * count) * np.linalg.slogdet(np.eye(dim) + dim / (mass * EPS**2) * gram).logabsdet
    return total


def weighted_gradient(Z, Pi):
    """Gradient of the same, with explicit inverses of d x d matrices."""
    count, dim = Z.shape
    alpha = dim / (count * EPS**2)
    gradient = Z @ np.linalg.inv(np.eye(dim) + alpha * Z.T @ Z)
    for weights in Pi.T:
        scaled = weights[:, None] * Z
        gradient -= scaled @ np.linalg.inv(np.eye(dim) + dim / (weights.sum() * EPS**2) * scaled.T @ Z)
    return alpha * gradient


def candidates(dim, count, K, precision):
    """Candidates {name: call} for value and gradient at one size and precision; {name: reason} of those left out."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((count, dim)).astype(precision)
    sizes = (count // K,) * K
    labels = rng.permutation(np.repeat(np.arange(K), sizes))
    Pi = (labels[:, None] == np.arange(K)).astype(precision)
    ordered = Z[np.argsort(labels, kind="stable")]
    skipped = {}
    value = {
        "ours, numpy, sizes": lambda: rate_reduction(ordered, sizes, eps=EPS),
        "ours, numpy, labels": lambda: rate_reduction(Z, labels, eps=EPS),
    }
    gradient = {
        "ours, numpy, sizes": lambda: value_and_gradient(ordered, sizes, eps=EPS)[1],
        "ours, numpy, labels": lambda: value_and_gradient(Z, labels, eps=EPS)[1],
    }
    if precision == "float64":
        gradient["textbook, K x N weights"] = lambda: weighted_gradient(Z, Pi)
        if 8 * K * count**2 < 2**30:
            value["textbook, K x N x N"] = lambda: textbook_reduction(Z, Pi)
        else:
            skipped["textbook, K x N x N"] = f"membership takes {8 * K * count**2 / 2**30:.0f} GiB"
        value["textbook, K x N weights"] = lambda: weighted_reduction(Z, Pi)
    if importlib.util.find_spec("torch") is None:
        skipped["torch and mcr2"] = "torch is not installed"
        return value, gradient, skipped

    import torch

    torch.set_num_threads(1)
    X, sorted_X, one_hot = torch.asarray(Z), torch.asarray(ordered), torch.asarray(Pi)
    class_of = torch.asarray(labels)
    value["ours, torch, sizes"] = lambda: rate_reduction(sorted_X, sizes, eps=EPS)
    value["ours, torch, labels"] = lambda: rate_reduction(X, class_of, eps=EPS)
    gradient["ours, torch, sizes"] = lambda: rate_reduction_gradient(sorted_X, sizes, eps=EPS)
    gradient["ours, torch, labels"] = lambda: rate_reduction_gradient(X, class_of, eps=EPS)
    gradient["ours, torch, autograd"] = lambda: differentiate(lambda rows: rate_reduction(rows, class_of, eps=EPS))

    def differentiate(function):
        rows = X.clone().requires_grad_()
        return torch.autograd.grad(function(rows), rows)[0].numpy()

    # Its einsum over N x d x K (or N x d x d) makes an intermediate of that size, and autograd keeps it.
    needed = 2 * Z.itemsize * count * dim * max(dim, K)
    free = psutil.virtual_memory().available
    if importlib.util.find_spec("mcr2") is None:
        skipped["mcr2 (PyPI)"] = "mcr2 is not installed (pip install mcr2)"
    elif needed > free / 2:
        skipped["mcr2 (PyPI)"] = f"may need {needed / 2**30:.0f} GiB, {free / 2**30:.0f} GiB are free"
    else:
        from mcr2.primitives.coding_rate import DeltaR

        value["mcr2 (PyPI)"] = lambda: DeltaR(X, one_hot, EPS)
        gradient["mcr2 (PyPI)"] = lambda: differentiate(lambda rows: DeltaR(rows, one_hot, EPS))
    return value, gradient, skipped


def measure(jobs, tolerance, seconds):
    """Seconds of each call of each candidate of each job: {(job, name): [seconds, ...]}.

    A first call warms up and is compared with the first candidate: a ratio of different computations means nothing.
    Then all alternate, for about `seconds` each and at least 5 rounds; one whose first call took longer than `seconds`
    is not called again.
    """
    reference, times, slow = {}, {}, {}
    for (job, name), call in jobs.items():
        begin = time.perf_counter()
        result = np.asarray(call(), dtype=np.float64)
        first = time.perf_counter() - begin
        if first > seconds:
            slow[job, name] = [first]
        else:
            times[job, name] = []
        if result.ndim and "sizes" in name:
            continue  # its rows are in another order
        expected = reference.setdefault(job, result)
        error = np.abs(result - expected).max() / np.abs(expected).max()
        if not error < tolerance:
            raise ArithmeticError(f"{name} differs from the first candidate by {error:.1e}; {tolerance:.0e} is allowed")
    start, rounds = time.perf_counter(), 0
    while rounds < 5 or (time.perf_counter() - start < seconds * len(times) and rounds < 200):
        for key, taken in times.items():
            begin = time.perf_counter()
            jobs[key]()
            taken.append(time.perf_counter() - begin)
        rounds += 1
    return times | slow


def ratio(taken, base):
    """Median over rounds of the ratio within a round, where both were called in each; else ratio of medians."""
    if len(taken) == len(base):
        return statistics.median(a / b for a, b in zip(taken, base, strict=True))
    return statistics.median(taken) / statistics.median(base)


def run(which=tuple(SIZES), precisions=("float64", "float32"), seconds=3.0):
    """Rows of the table (one per size, precision, job, candidate) and the list of what was left out."""
    rows, left_out = [], []
    for size in which:
        dim, count, K = SIZES[size]
        for precision in precisions:
            value, gradient, skipped = candidates(dim, count, K, precision)
            where = {"size": size, "d": dim, "N": count, "K": K, "precision": precision}
            left_out += [where | {"candidate": name, "reason": reason} for name, reason in skipped.items()]
            jobs = {("value", name): call for name, call in value.items()}
            jobs |= {("gradient", name): call for name, call in gradient.items()}
            # mcr2 counts class members in float32 whatever the input, hence not the precision of float64.
            times = measure(jobs, 1e-3 if precision == "float32" else 1e-5, seconds)
            for job, name in jobs:
                taken, own = times[job, name], times.get(("value", name))
                rows.append(
                    where
                    | {"job": job, "candidate": name, "milliseconds": 1e3 * statistics.median(taken)}
                    | {"calls": len(taken), "ours_faster_by": ratio(taken, times[job, "ours, numpy, labels"])}
                    | {"over_own_value": ratio(taken, own) if own and job == "gradient" else None}
                )
    return rows, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--size", choices=SIZES, nargs="+", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=3.0, help="per candidate and job")
    arguments = parser.parse_args()
    rows, left_out = run(arguments.size, seconds=arguments.seconds)
    print(
        f"{'d':>4} {'N':>6} {'K':>4} {'precision':9} {'job':8} {'candidate':25} {'ms':>9} {'ours faster':>12}  /value"
    )
    for row in rows:
        own = "" if row["over_own_value"] is None else f"{row['over_own_value']:.2f}"
        print(
            f"{row['d']:4} {row['N']:6} {row['K']:4} {row['precision']:9} {row['job']:8} {row['candidate']:25} "
            f"{row['milliseconds']:9.2f} {row['ours_faster_by']:11.2f}x {own:>7}"
        )
    for item in left_out:
        print(f"left out: {item['candidate']} at {item['size']}, {item['precision']}: {item['reason']}")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        arguments.out.write_text(json.dumps({"machine": machine, "rows": rows, "left_out": left_out}, indent=1))
    return rows


if __name__ == "__main__":
    main()
