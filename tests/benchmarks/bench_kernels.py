"""Limit kernels of deep ReLU networks on 1024 points: tabulated, by recursion, by covariances, and by networks.

Run `make bench`, or `python tests/benchmarks/bench_kernels.py --out ratios.json`. One process, one thread, float64.
Candidates give the Gram matrix of N unit rows at depth L, per unit of width: the table (its making is part of the
time), the O(L) recursion of angles, the usual recursion of covariances (which loses half of the digits at small
angles), and, at fewer points, one network of moderate width, layer by layer and by automatic differentiation of every
sample. Candidates alternate, call by call, and ratios are taken within a round, so that a busy machine slows all alike.
Accuracy is against the recursion in 30 digits on a few pairs of points.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, hence before any of them is imported
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import mpmath as mp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.models.angle_kernels import AngleTable, angles, hidden_kernel
from lab.models.relu_networks import empirical_ntk, outputs, relu_init

POINTS, DEPTH = 1024, 50
FEW, WIDTH, SHALLOW = 64, 256, 6
TABLE = "table"


def sphere(points):
    """Unit rows, a few of them near each other."""
    X = np.random.default_rng(0).standard_normal((points, 3))
    X[1] = X[0] + 1e-5 * X[2]
    X[3] = X[0] + 1e-3 * X[4]
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def by_covariances(X, depth):
    """The usual recursion: covariances and tangents, angles by arccos."""
    covariance, tangent = X @ X.T, np.zeros((len(X), len(X)))
    for _ in range(depth):
        angle = np.arccos(np.clip(covariance, -1, 1))
        tangent = (tangent + covariance) * (1 - angle / np.pi)
        covariance = ((np.pi - angle) * covariance + np.sin(angle)) / np.pi
    return tangent / 2


def limits(points, depth):
    """Candidates {name: call} of the limit kernel."""
    X = sphere(points)
    return X, {
        TABLE: lambda: AngleTable(hidden_kernel, depth)(angles(X)),
        "recursion of angles": lambda: hidden_kernel(angles(X), depth),
        "recursion of covariances": lambda: by_covariances(X, depth),
    }


def networks(points, width, depth):
    """Candidates of the empirical kernel of one network; the table, at the same points, for comparison."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    X = sphere(points)
    weights, rows = relu_init(jax.random.key(0), width, depth, 3), jnp.asarray(X)

    @jax.jit
    def by_samples(weights, rows):
        jacobian = jax.vmap(lambda x: jax.grad(lambda w: outputs(w, x[None])[0])(weights))(rows)
        flat = [part.reshape(points, -1) for part in jacobian]
        return sum(part @ part.T for part in flat) / width

    layered = jax.jit(lambda weights, rows: empirical_ntk(weights, rows) / width)
    return X, {
        TABLE: lambda: AngleTable(hidden_kernel, depth)(angles(X)),
        "network, layer by layer": lambda: np.asarray(layered(weights, rows)),
        "network, gradients of samples": lambda: np.asarray(by_samples(weights, rows)),
    }


def exact(nu, depth):
    """The hidden kernel in 30 digits."""
    with mp.workdps(30):
        a, kernel = nu, mp.mpf(0)
        for _ in range(depth):
            kernel = (kernel + mp.cos(a)) * (1 - a / mp.pi)
            a = 2 * mp.asin(mp.sqrt((2 * mp.sin(a / 2) ** 2 * (1 - a / mp.pi) + (a - mp.sin(a)) / mp.pi) / 2))
        return kernel / 2


def errors(X, calls, depth):
    """Largest error over some pairs of points, near ones included, over the kernel's peak L/2."""
    pairs = [(0, 1), (0, 2), (0, 3), (2, 5), (7, 11)]
    chords = [mp.sqrt(mp.fsum((mp.mpf(a) - mp.mpf(b)) ** 2 for a, b in zip(X[i], X[j], strict=True))) for i, j in pairs]
    values = [exact(2 * mp.asin(chord / 2), depth) for chord in chords]
    return {
        name: max(float(abs(mp.mpf(float(K[i, j])) - v)) for (i, j), v in zip(pairs, values, strict=True)) / (depth / 2)
        for name, K in ((name, call()) for name, call in calls.items())
    }


def measure(calls, seconds):
    """Seconds of each call of each candidate, after one call that warms up."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()
    start, rounds = time.perf_counter(), 0
    while rounds < 3 or (time.perf_counter() - start < seconds and rounds < 50):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
        rounds += 1
    return times


def run(points=POINTS, depth=DEPTH, seconds=10.0):
    """Rows of the table, one per setting and candidate."""
    rows = []
    shallow = {"N": min(FEW, points), "L": min(SHALLOW, depth), "n": WIDTH}
    for setting, (X, calls) in (
        ({"N": points, "L": depth, "n": None}, limits(points, depth)),
        (shallow, networks(shallow["N"], WIDTH, shallow["L"])),
    ):
        found = errors(X, calls, setting["L"]) if setting["n"] is None else {}
        times = measure(calls, seconds)
        for name, taken in times.items():
            ratios = [own / table for own, table in zip(taken, times[TABLE], strict=True)]
            rows.append(setting | {
                "candidate": name, "milliseconds": 1e3 * statistics.median(taken), "calls": len(taken),
                "over_table": statistics.median(ratios), "error": found.get(name),
            })  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--depth", type=int, default=DEPTH)
    parser.add_argument("--seconds", type=float, default=10.0, help="per setting")
    arguments = parser.parse_args()
    rows = run(arguments.points, arguments.depth, arguments.seconds)
    print(f"{'N':>5} {'L':>4} {'n':>5} {'candidate':32} {'ms':>9} {'over table':>11} {'error/peak':>11}")
    for row in rows:
        error = "" if row["error"] is None else f"{row['error']:.1e}"
        print(f"{row['N']:5} {row['L']:4} {row['n'] or '':>5} {row['candidate']:32} {row['milliseconds']:9.2f} "
              f"{row['over_table']:10.2f}x {error:>11}")  # fmt: skip
    if arguments.out:
        about = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        arguments.out.write_text(json.dumps({"machine": about, "precision": "float64", "rows": rows}, indent=1))
    return rows


if __name__ == "__main__":
    main()
