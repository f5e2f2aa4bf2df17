"""Token statistics attention against softmax attention as the number of tokens grows, side by side.

Run `make bench`, or `python tests/benchmarks/bench_tssa.py --out ratios.json`. A training step of one layer, forward
and backward through random weights, float32, batch 1, one process, one thread. All layers have one shared projection
of K heads and one output projection (softmax attention with three projections would cost more). Candidates alternate,
call by call, and ratios are taken within a round, so that a busy machine slows both sides. Flops of the forward pass
are exact counts (`tost/linear-cost`, biases left out); those of matrix products, forward and backward, are counted by
torch, which cannot look into its fused kernel. What is left out is listed with its reason.
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

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.models.torch_modules import TSSA
from lab.systems.tost import theory

DIM, HEADS, RANK = 128, 4, 32
TOKENS = (256, 512, 1024, 2048, 4096)
OURS, FUSED = "token statistics, ours", "softmax, torch's fused kernel"


class Weights:
    """One set of weights for every candidate: projection (K p, d), inverse temperatures (K,), output (d, K p)."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.projection = torch.randn(HEADS * RANK, DIM, generator=generator) / math.sqrt(DIM)
        self.output = torch.randn(DIM, HEADS * RANK, generator=generator) / math.sqrt(DIM)
        self.temperature = torch.ones(HEADS)
        self.all = [self.projection, self.output, self.temperature]
        for weight in self.all:
            weight.requires_grad_()
        self.layer = TSSA(DIM, HEADS)
        with torch.no_grad():
            self.layer.qkv.weight.copy_(self.projection)
            self.layer.to_out[0].weight.copy_(self.output)
            self.layer.to_out[0].bias.zero_()


def heads_of(rows):
    return rows.reshape(len(rows), HEADS, RANK).transpose(0, 1)


def plain_statistics(Z, weights):
    """Token statistics attention as the published formula reads, head after head."""
    W = heads_of(Z @ weights.projection.T)
    shares = [(w / w.norm(dim=0).clamp(min=1e-12)).square().sum(1) for w in W]
    membership = torch.softmax(torch.stack(shares, 1) * weights.temperature, dim=1)
    parts = []
    for k, w in enumerate(W):
        pi = membership[:, k]
        moments = (pi / (pi.sum() + 1e-8)) @ w.square()
        parts.append(-(w * pi[:, None]) / (1 + moments))
    return torch.cat(parts, 1) @ weights.output.T


def plain_attention(Z, weights):
    """Softmax attention as the formula reads, head after head."""
    parts = []
    for w in heads_of(Z @ weights.projection.T):
        parts.append(torch.softmax(w @ w.T / math.sqrt(RANK), dim=1) @ w)
    return torch.cat(parts, 1) @ weights.output.T


def fused_attention(Z, weights):
    """The same with torch's fused kernel, which never stores the scores."""
    W = heads_of(Z @ weights.projection.T)[None]
    mixed = torch.nn.functional.scaled_dot_product_attention(W, W, W)
    return mixed[0].transpose(0, 1).flatten(1) @ weights.output.T


def candidates(count, weights):
    """Candidates {name: forward pass} at `count` tokens, and {name: reason} of those left out."""
    Z = torch.randn(count, DIM, generator=torch.Generator().manual_seed(count))
    calls = {
        OURS: lambda: weights.layer(Z[None])[0],
        "token statistics, head by head": lambda: plain_statistics(Z, weights),
        FUSED: lambda: fused_attention(Z, weights),
    }
    needed, free = 5 * 4 * HEADS * count**2, psutil.virtual_memory().available
    if needed > free / 2:  # scores, their softmax, and the gradients of both stay alive in the backward pass
        return calls, {"softmax, head by head": f"may need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"}
    return calls | {"softmax, head by head": lambda: plain_attention(Z, weights)}, {}


def training_step(call, weights):
    """Forward, a scalar loss, backward; returns the output."""
    output = call()
    torch.autograd.grad(output.square().sum(), [*weights.all, *weights.layer.parameters()], allow_unused=True)
    return output.detach()


def matrix_flops(call, weights):
    """Flops of the matrix products of a training step, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        training_step(call, weights)
    return counter.get_total_flops()


def measure(calls, weights, seconds):
    """Seconds of each call of each candidate; first calls warm up and are compared within their kind."""
    reference, times = {}, {name: [] for name in calls}
    for name, call in calls.items():
        result = training_step(call, weights)
        expected = reference.setdefault(name.partition(",")[0], result)
        error = float((result - expected).abs().max() / expected.abs().max())
        if not error < 1e-4:
            raise ArithmeticError(f"{name} differs from the first of its kind by {error:.1e}; 1e-4 is allowed")
    start, rounds = time.perf_counter(), 0
    while rounds < 3 or (time.perf_counter() - start < seconds and rounds < 200):
        for name, call in calls.items():
            begin = time.perf_counter()
            training_step(call, weights)
            times[name].append(time.perf_counter() - begin)
        rounds += 1
    return times


def run(tokens=TOKENS, seconds=5.0):
    """Rows of the table, one per number of tokens and candidate, and the list of what was left out."""
    torch.set_num_threads(1)
    rows, left_out, weights = [], [], Weights()
    for count in tokens:
        calls, skipped = candidates(count, weights)
        left_out += [{"N": count, "candidate": name, "reason": reason} for name, reason in skipped.items()]
        times = measure(calls, weights, seconds)
        for name, taken in times.items():
            softmax = name.startswith("softmax")
            sizes = (count, DIM, HEADS, RANK)
            flops = theory.attention_flops(*sizes) if softmax else theory.tssa_flops(*sizes, membership="published")
            ratios = [own / ours for own, ours in zip(taken, times[OURS], strict=True)]
            rows.append(
                {"N": count, "candidate": name, "milliseconds": 1e3 * statistics.median(taken), "calls": len(taken)}
                | {"fastest": 1e3 * min(taken), "over_ours": statistics.median(ratios), "forward_flops": flops}
                | {"matrix_flops": None if name == FUSED else matrix_flops(calls[name], weights)}
            )
    return rows, left_out


def slopes(rows):
    """Slope of log time against log N over the last two octaves of each candidate, from the fastest calls.

    Neighbours on the machine slow some sizes more than others; the fastest calls feel them least.
    """
    found = {}
    for name in dict.fromkeys(row["candidate"] for row in rows):
        last = [row for row in rows if row["candidate"] == name][-3:]
        octaves = math.log(last[-1]["N"] / last[0]["N"])
        found[name] = math.log(last[-1]["fastest"] / last[0]["fastest"]) / octaves if octaves else math.nan
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--tokens", type=int, nargs="+", default=list(TOKENS))
    parser.add_argument("--seconds", type=float, default=5.0, help="per number of tokens")
    arguments = parser.parse_args()
    rows, left_out = run(arguments.tokens, arguments.seconds)
    print(
        f"{'N':>5} {'candidate':32} {'ms':>9} {'fastest':>9} {'over ours':>10} {'forward Mflop':>14} "
        f"{'matrix Mflop, fwd+bwd':>22}"
    )
    for row in rows:
        matrix = "" if row["matrix_flops"] is None else f"{row['matrix_flops'] / 1e6:.2f}"
        print(
            f"{row['N']:5} {row['candidate']:32} {row['milliseconds']:9.2f} {row['fastest']:9.2f} "
            f"{row['over_ours']:9.2f}x {row['forward_flops'] / 1e6:14.2f} {matrix:>22}"
        )
    for name, slope in slopes(rows).items():
        print(f"slope of time over the last two octaves: {slope:.2f}  {name}")
    for item in left_out:
        print(f"left out: {item['candidate']} at N={item['N']}: {item['reason']}")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        table = {"machine": machine, "d": DIM, "K": HEADS, "p": RANK, "precision": "float32", "rows": rows}
        arguments.out.write_text(json.dumps(table | {"slopes": slopes(rows), "left_out": left_out}, indent=1))
    return rows


if __name__ == "__main__":
    main()
