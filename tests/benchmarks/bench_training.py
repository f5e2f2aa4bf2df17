"""One training step of mixture denoisers: matrix products over all samples, against nested vmap over single samples.

Both compute the same loss and gradient, float32, in one process. The per-sample form is how published code reads: a
function of one noisy sample, vmapped over draws and samples. Also: models trained per second when all sizes are trained
together or one by one, and the share of the machine's matrix product rate that the step attains.
"""

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

from lab.models.diffusion import VP
from lab.systems.memorization import dynamics

DIM, POINTS, MEANS = 30, 100, 50
SIZES = (25, 30, 35, 40, 42, 45, 48, 50)


def problem(draws, sizes=(MEANS,)):
    """Points, noise, times (draws, N), means and log-priors of models of these sizes."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((POINTS, DIM)), dtype=jnp.float32)
    noise = jnp.asarray(rng.standard_normal((draws, POINTS, DIM)), dtype=jnp.float32)
    times = jnp.asarray(rng.choice(dynamics.published_times(), size=(draws, POINTS)), dtype=jnp.float32)
    means = jnp.broadcast_to(x[: max(sizes)], (len(sizes), max(sizes), DIM))
    model = dynamics.Model(means, jnp.full(len(sizes), 0.3, dtype=jnp.float32))
    return x, noise, times, model, jnp.asarray(dynamics.log_priors(sizes), dtype=jnp.float32)


def matrix_loss(model, x, noise, times, priors):
    """Loss summed over sizes: two matrix products for all samples."""
    return jnp.sum(jnp.mean(dynamics.mixture_loss(model, x, noise, times, priors), axis=(1, 2)))


def sample_loss(model, x, noise, times, priors):
    """The same loss from a function of one sample and one mean, vmapped over means, samples and draws."""

    def one(means, std, logs, point, z, t):
        a, s = VP.alpha(t), VP.sigma(t)
        y, gamma = a * point + s * z, (a * std) ** 2 + s**2
        logits = jax.vmap(lambda mean, log: log - jnp.sum((y - a * mean) ** 2) / (2 * gamma))(means, logs)
        mean = jnp.sum(jax.nn.softmax(logits)[:, None] * means, axis=0)
        return jnp.sum((s / gamma * (y - a * mean) - z) ** 2)

    samples = jax.vmap(one, (None, None, None, 0, 0, 0))
    draws = jax.vmap(samples, (None, None, None, None, 0, 0))
    sizes = jax.vmap(draws, (0, 0, 0, None, None, None))
    return jnp.sum(jnp.mean(sizes(model.means, model.std, priors, x, noise, times), axis=(1, 2)))


def seconds(calls, budget):
    """Times of each call, in turns until `budget` seconds have passed (at least three rounds); the first warms up."""
    for call in calls.values():
        jax.block_until_ready(call())
    found, start = {name: [] for name in calls}, time.perf_counter()
    while len(next(iter(found.values()))) < 3 or time.perf_counter() - start < budget:
        for name, call in calls.items():
            begin = time.perf_counter()
            jax.block_until_ready(call())
            found[name].append(time.perf_counter() - begin)
    return found


def flops(draws, means=MEANS, sizes=1):
    """Of the matrix products of a loss and its gradient: 12 per sample, mean and coordinate."""
    return 12 * draws * POINTS * means * DIM * sizes


def steps(draws, budget):
    """Rows of the two forms at this many draws, after a comparison of losses and gradients."""
    data = problem(draws)
    forms = {"matrix products": matrix_loss, "per sample, nested vmap": sample_loss}
    compiled = {name: jax.jit(jax.value_and_grad(form)) for name, form in forms.items()}
    results = [call(data[3], *data[:3], data[4]) for call in compiled.values()]
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        error = float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))
        if not error < 1e-3:
            raise ArithmeticError(f"the two forms differ by {error:.1e}; 1e-3 is allowed in float32")
    size = 2000
    left = jnp.ones((size, size), dtype=jnp.float32)
    product = jax.jit(jnp.matmul)
    calls = {name: (lambda call=call: call(data[3], *data[:3], data[4])) for name, call in compiled.items()}
    taken = seconds(calls | {"peak": lambda: product(left, left)}, budget)
    peak = 2 * size**3 / min(taken["peak"])
    ours = taken["matrix products"]
    return [
        {"draws": draws, "form": name, "milliseconds": 1e3 * statistics.median(taken[name]),
         "fastest": 1e3 * min(taken[name]),
         "over_ours": statistics.median(a / b for a, b in zip(taken[name], ours, strict=True)),
         "share_of_peak": flops(draws) / min(taken[name]) / peak, "peak_gflops": peak / 1e9}
        for name in forms
    ]  # fmt: skip


def together(draws, budget):
    """Steps of models per second: all sizes in one program, against one program per size."""
    value = jax.jit(jax.value_and_grad(matrix_loss))
    x, noise, times, model, priors = problem(draws, SIZES)
    single = [problem(draws, (size,)) for size in SIZES]

    def one_by_one():
        return [value(m, x, noise, times, p) for _, _, _, m, p in single]

    taken = seconds({"together": lambda: value(model, x, noise, times, priors), "one by one": one_by_one}, budget)
    return [{"draws": draws, "way": name, "model_steps_per_second": len(SIZES) / statistics.median(found)}
            for name, found in taken.items()]  # fmt: skip


def run(draws=(4, 100), budget=4.0):
    """Both tables."""
    return [row for count in draws for row in steps(count, budget)], [
        row for count in draws for row in together(count, budget / 2)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the tables as JSON to this file")
    parser.add_argument("--draws", type=int, nargs="+", default=[4, 100])
    parser.add_argument("--seconds", type=float, default=3.0, help="per table and number of draws")
    arguments = parser.parse_args()
    rows, models = run(tuple(arguments.draws), arguments.seconds)
    print(f"d={DIM}, N={POINTS}, M={MEANS}, loss and gradient, float32, {jax.devices()[0].platform}")
    for row in rows:
        print(f"{row['draws']:4} draws  {row['form']:26} {row['milliseconds']:9.2f} ms  "
              f"fastest {row['fastest']:9.2f}  {row['over_ours']:6.1f}x  "
              f"{100 * row['share_of_peak']:5.1f} % of {row['peak_gflops']:.0f} Gflop/s")  # fmt: skip
    for row in models:
        rate = row["model_steps_per_second"]
        print(f"{row['draws']:4} draws  {len(SIZES)} sizes {row['way']:12} {rate:9.1f} model steps/s")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "jax": jax.__version__,
                   "device": jax.devices()[0].platform}  # fmt: skip
        arguments.out.write_text(json.dumps({"machine": machine, "d": DIM, "N": POINTS, "M": MEANS, "sizes": SIZES,
                                             "rows": rows, "models": models}, indent=1))  # fmt: skip
    return rows, models


if __name__ == "__main__":
    main()
