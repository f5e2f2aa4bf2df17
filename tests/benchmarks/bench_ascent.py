"""Gradient ascent of MCR² over many points at once, against one by one and against textbook code: ratios of one run.

Run as a script: `python tests/benchmarks/bench_ascent.py --out ratios.json`. Each candidate climbs from the same 64
points (16 values of lambda, 4 seeds) by the same number of steps, in blocks of 8 as the sweeps of `lab` do on a CPU,
all at once, or one by one; slow ones climb from fewer, as the table says, and all ratios are per point. One process,
one thread, XLA's pool included; times are processor times. Candidates alternate, ratios are taken within a round. The
last rows of a size time the factorisations of ascent alone.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NPROC"):
    os.environ[variable] = "1"  # read when the libraries load, hence before any of them is imported

import argparse
import functools
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

from lab.objectives.coding_rate import regularised_rate_reduction_gradient
from lab.systems.mcr2.ascent import _triangular_inverse, reduced
from lab.systems.mcr2.dynamics import default_step, gradient_ascent

EPS = 0.5
SIZES = {"small": (16, 96, 4, 200), "large": (64, 512, 8, 6)}  # d, N, K, steps
POINTS = 64


def definition(Z, sizes, lam):
    """The regularised objective as it is printed: one slogdet for all samples and one for each class."""
    count, dim = Z.shape
    value = 0.5 * jnp.linalg.slogdet(jnp.eye(dim) + dim / (count * EPS**2) * Z.T @ Z)[1] - 0.5 * lam * jnp.sum(Z**2)
    for size, start in zip(sizes, np.cumsum(sizes) - sizes, strict=True):
        part = Z[start : start + size]
        value -= size / (2 * count) * jnp.linalg.slogdet(jnp.eye(dim) + dim / (size * EPS**2) * part.T @ part)[1]
    return value


def candidates(dim, count, K, steps):
    """{name: (call, points climbed)} for one size; each call returns the features at the end, (points, N, d)."""
    sizes, alpha = (count // K,) * K, dim / (count * EPS**2)
    rng = np.random.default_rng(0)
    start = np.repeat(rng.standard_normal((4, count, dim)), 16, axis=0)
    lam = np.tile(np.linspace(0.02, 0.1, 16) * alpha, 4)
    hot = np.eye(K)[np.repeat(np.arange(K), sizes)]

    def loop(gradient):
        """Ascent with a given gradient, by the same steps as `gradient_ascent`."""

        def run(Z, lam):
            return jax.lax.fori_loop(0, steps, lambda _, V: V + default_step(alpha, lam) * gradient(V, lam), Z)

        return run

    programs = {
        "ours": lambda Z, lam: gradient_ascent(Z, sizes, eps=EPS, lam=lam, steps=steps).Z,
        "ours, membership": lambda Z, lam: gradient_ascent(Z, hot, eps=EPS, lam=lam, steps=steps).Z,
        "separate factors": loop(lambda Z, lam: regularised_rate_reduction_gradient(Z, sizes, eps=EPS, lam=lam)),
        "autodiff of slogdet": loop(lambda Z, lam: jax.grad(definition)(Z, sizes, lam)),
    }

    def blocks(program, width, points=POINTS):
        """One program for `width` points, called until all are done."""
        compiled = jax.jit(jax.vmap(program)).lower(start[:width], lam[:width]).compile()
        cuts = [slice(i, i + width) for i in range(0, points, width)]
        return (lambda: np.concatenate([compiled(start[cut], lam[cut]) for cut in cuts])), points

    def uncompiled(points):
        found = []
        for Z, one in zip(start[:points], lam[:points], strict=True):
            for _ in range(steps):
                slope = regularised_rate_reduction_gradient(Z, sizes, eps=EPS, lam=one)
                Z = Z + default_step(alpha, one) * slope
            found.append(Z)
        return np.stack(found)

    found = {f"{name}, by 8": blocks(program, 8) for name, program in programs.items()}
    found["ours, all 64 at once"] = blocks(programs["ours"], POINTS)
    found["ours, one by one"] = blocks(programs["ours"], 1)
    found["autodiff of slogdet, one by one"] = blocks(programs["autodiff of slogdet"], 1, 8)
    found["numpy, closed gradient, one by one"] = (lambda: uncompiled(4)), 4
    return found, factorisations(start, sizes, alpha, lam, steps)


def factorisations(start, sizes, alpha, lam, steps):
    """Calls that do, as often as ascent of a block of 8, its factorisations alone, and these with the inverses."""

    def stack(Z, lam):
        objective, Y = reduced(jnp.sqrt(alpha) * Z, sizes, lam / alpha)
        return jnp.eye(Z.shape[-1]) + objective.scale * objective.grams(Y)

    matrices = jax.jit(jax.vmap(stack))(start[:8], lam[:8])

    def factors(M):
        # the next turn depends on this one, as in ascent
        return M + 1e-30 * jax.lax.linalg.cholesky(M, symmetrize_input=False)

    def inverses(M):
        half = _triangular_inverse(jax.lax.linalg.cholesky(M, symmetrize_input=False))
        return M + 1e-30 * (jnp.swapaxes(half, -1, -2) @ half)

    calls = {}
    for name, turn in (("factorisations alone", factors), ("factorisations and inverses alone", inverses)):
        run = jax.jit(lambda M, turn=turn: jax.lax.fori_loop(0, steps, lambda _, V: turn(V), M))
        calls[name] = functools.partial(run.lower(matrices).compile(), matrices)
    return calls


def measure(calls, seconds):
    """Seconds of each call in each round: {name: [seconds, ...]}; at least 3 rounds, about `seconds` in all."""
    times = {name: [] for name in calls}
    begin, rounds = time.process_time(), 0
    while rounds < 3 or (time.process_time() - begin < seconds and rounds < 50):
        for name, call in calls.items():
            start = time.process_time()
            jax.block_until_ready(call())
            times[name].append(time.process_time() - start)
        rounds += 1
    return times


def run(which=tuple(SIZES), seconds=12.0):
    """Rows of the table: one per size and candidate."""
    rows = []
    for size in which:
        dim, count, K, steps = SIZES[size]
        found, parts = candidates(dim, count, K, steps)
        reference = None
        for name, (call, points) in found.items():  # the first call warms up; different results have no ratio
            result = np.asarray(call())
            reference = result if reference is None else reference
            error = np.abs(result - reference[:points]).max() / np.abs(reference).max()
            if not error < 1e-8:
                raise ArithmeticError(f"{name} differs from ours by {error:.1e}")
        times = measure({name: call for name, (call, _) in found.items()} | parts, seconds)
        ours = times["ours, by 8"]
        for name, taken in times.items():
            points = found[name][1] if name in found else 8
            each = [one / points for one in taken]
            rows.append(
                {"size": size, "d": dim, "N": count, "K": K, "steps": steps, "candidate": name, "points": points}
                | {"points_per_second": 1 / statistics.median(each)}
                | {"microseconds_per_step": 1e6 * statistics.median(each) / steps, "rounds": len(each)}
                | {"over_ours": statistics.median(POINTS * a / b for a, b in zip(each, ours, strict=True))}
            )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--size", choices=SIZES, nargs="+", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=12.0, help="of measuring, per size")
    arguments = parser.parse_args()
    with jax.enable_x64(True):
        rows = run(arguments.size, arguments.seconds)
    print(f"{'d':>3} {'N':>4} {'K':>2} {'steps':>5} {'candidate':38} {'points/s':>9} {'us/step':>9} {'over ours':>9}")
    for row in rows:
        print(
            f"{row['d']:3} {row['N']:4} {row['K']:2} {row['steps']:5} {row['candidate']:38} "
            f"{row['points_per_second']:9.1f} {row['microseconds_per_step']:9.1f} {row['over_ours']:9.2f}"
        )
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        machine["jax"] = jax.__version__
        arguments.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    return rows


if __name__ == "__main__":
    main()
