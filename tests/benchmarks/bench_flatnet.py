"""Layers per second of flattening, ours against the published way to fit one, and neighbours for dimension estimates.

The published code fits the frame of every layer by up to 1000 steps of a Riemannian Adam optimiser, in float32, three
times per layer (two radii of the search and the final one); here that loop is written plainly in torch (gradient on
the tangent space of orthonormal frames, Adam's scaling, QR as retraction, its stopping rule and learning rate). Both
fit the same neighbourhoods, call by call in turn; the loss they reach is listed. One process, one thread.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, hence before any of them is imported

import argparse
import json
import math
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.data.flattening import gp_manifold, sine_graph
from lab.models.dimension import neighbour_distances
from lab.models.flatnet import FlatNet, fit_patch

STEPS, RATE, STOP = 1000, 1.0, 1e-5
SETS = {"sine graph, N=50, D=2": (lambda: sine_graph(50).X, 1, 1.0),
        "random surface, N=500, D=20, d=3": (lambda: gp_manifold(np.random.default_rng(0), 500, 3, 20).X, 3, 0.5)}


def our_fit(Z, sample, d, radius):
    """Loss after local weighted PCA and a few alternating steps."""
    return fit_patch(Z, sample, d, radius, centre="mean").loss


def published_fit(Z, sample, d, radius):
    """Loss after the published optimisation of the frame, the model by least squares in every step."""
    Z, sample = torch.as_tensor(Z, dtype=torch.float32), torch.as_tensor(sample, dtype=torch.float32)
    gamma = math.log(2) / radius**2
    weight = torch.exp(-gamma * ((Z - sample) ** 2).sum(1, keepdim=True))
    centre = (Z * weight).sum(0) / weight.sum()
    weight = torch.exp(-gamma * ((Z - centre) ** 2).sum(1, keepdim=True))
    near = weight[:, 0] > 1e-6
    relative, weight = Z[near] - sample, weight[near]
    pairs = torch.triu_indices(d, d)
    frame = torch.linalg.qr(torch.randn(Z.shape[1], d, generator=torch.Generator().manual_seed(0)))[0]
    first, second = torch.zeros_like(frame), 0.0
    for step in range(1, STEPS + 1):
        frame = frame.detach().requires_grad_(True)
        coordinates = relative @ frame
        normal = relative - coordinates @ frame.T
        q = (coordinates[:, :, None] * coordinates[:, None, :])[:, pairs[0], pairs[1]]
        model = torch.linalg.lstsq((weight * q).detach(), (weight * normal).detach(), rcond=1e-4).solution
        loss = 0.5 * ((weight * (normal - q @ model)) ** 2).mean()
        (slope,) = torch.autograd.grad(loss, frame)
        with torch.no_grad():
            symmetric = frame.T @ slope
            slope = slope - frame @ (symmetric + symmetric.T) / 2
            first = 0.9 * first + 0.1 * slope
            second = 0.999 * second + 0.001 * float((slope**2).sum())
            scaled = first / (1 - 0.9**step) / (math.sqrt(second / (1 - 0.999**step)) + 1e-8)
            moved = torch.linalg.qr(frame - RATE * scaled)[0]
            moved = moved * torch.sign((moved * frame).sum(0))
            done = float((moved - frame).square().mean().sqrt()) < STOP
            frame = moved
        if done:
            break
    return float(loss.detach())


def fits(rounds):
    """Seconds of one fit of a neighbourhood and the loss it reaches, ours and the published way."""
    rows = []
    for name, (draw, d, radius) in SETS.items():
        Z = draw()
        times, losses = {"ours": [], "published": []}, {"ours": [], "published": []}
        for sample in Z[:: max(1, len(Z) // rounds)][:rounds]:
            for key, fit in (("ours", our_fit), ("published", published_fit)):
                begin = time.perf_counter()
                losses[key].append(fit(Z, sample, d, radius))
                times[key].append(time.perf_counter() - begin)
        ratios = [b / a for a, b in zip(times["ours"], times["published"], strict=True)]
        for key in times:
            rows.append({"set": name, "fit": key, "milliseconds": 1e3 * statistics.median(times[key]),
                         "loss": statistics.median(losses[key]), "over_ours": statistics.median(ratios)
                         if key == "published" else 1.0})  # fmt: skip
    return rows


def networks():
    """Layers per second of whole networks, with the search for the radius and for the dimension."""
    rows = []
    for name, (draw, _, _) in SETS.items():
        X = draw()
        begin = time.perf_counter()
        net = FlatNet(layers=100).fit(X)
        middle = time.perf_counter()
        code = net.transform(X)
        encoded = time.perf_counter()
        net.inverse_transform(code)
        end, count = time.perf_counter(), len(net.layers_)
        seconds = {"fit": middle - begin, "encode": encoded - middle, "decode": end - encoded}
        rows.append({"set": name, "layers": count} | {f"{k}_per_second": count / v for k, v in seconds.items()})
    return rows


def neighbours(sizes, rounds):
    """Milliseconds of the ten nearest neighbours of all points in dimension 5: tree and brute force."""
    rows = []
    for n in sizes:
        x, times = np.random.default_rng(n).random((n, 5)), {"tree": [], "brute force": []}
        for _ in range(rounds):
            begin = time.perf_counter()
            found = neighbour_distances(x, 10)
            middle = time.perf_counter()
            squares = np.sum(x**2, axis=1)
            full = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
            np.fill_diagonal(full, np.inf)
            brute = np.sqrt(np.sort(np.partition(full, 9, axis=1)[:, :10], axis=1))
            times["tree"].append(middle - begin)
            times["brute force"].append(time.perf_counter() - middle)
        if not np.allclose(found, brute, rtol=1e-6):
            raise ArithmeticError(f"neighbours of {n} points differ between tree and brute force")
        rows.append({"N": n} | {name: 1e3 * statistics.median(taken) for name, taken in times.items()})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the tables as JSON to this file")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = {"fits": fits(arguments.rounds), "networks": networks(),
             "neighbours": neighbours((500, 2000, 4000), arguments.rounds)}  # fmt: skip
    for name, rows in table.items():
        print(name)
        for row in rows:
            print("  " + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        arguments.out.write_text(json.dumps(table | {"machine": machine}, indent=1))
    return table


if __name__ == "__main__":
    main()
