"""White-box attention at the sizes of a vision transformer: subspace attention and token statistics, side by side.

Run `make bench`, or `python tests/benchmarks/bench_attention.py --out ratios.json`. One layer of dimension 768 with 12
heads of rank 64, batch 1, float32, one process, one thread, the same weights for every candidate: a training step
(forward, and backward to the tokens and the weights) and, for thresholded attention, the forward pass. Peers are the
layer as the published formula reads, head after head, and torch's fused `scaled_dot_product_attention`; 197 tokens are
those of an image of 224 x 224 pixels in patches of 16 x 16. Candidates alternate, call by call, and ratios are taken
within a round, so that a busy machine slows both sides. Outputs of a kind are compared before they are timed. Flops of
the forward pass are exact counts (`tost/linear-cost`, biases left out); those of the matrix products of a whole step
are counted by torch, which cannot look into its fused kernel. What is left out is listed with its reason.
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

from lab.models import white_box
from lab.models.torch_crate import MSSA
from lab.models.torch_modules import TSSA
from lab.systems.tost import theory

DIM, HEADS, RANK = 768, 12, 64
TOKENS = (197, 1024, 4096)
TAU = 0.5  # nearly every query attends to itself alone at these weights: all keys are gathered
FUSED = ("softmax, ours", "softmax, torch's fused kernel")
FIRST = {"statistics": "statistics, ours", "softmax": "softmax, ours", "thresholded": "thresholded, ours"}


class Layers:
    """One set of weights for every candidate: projection (K p, d) and output (d, K p), and our layers with them."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.projection = torch.randn(HEADS * RANK, DIM, generator=generator) / math.sqrt(DIM)
        self.output = torch.randn(DIM, HEADS * RANK, generator=generator) / math.sqrt(DIM)
        self.weights = [self.projection, self.output]
        for weight in self.weights:
            weight.requires_grad_()
        self.fused, self.any_weights = MSSA(DIM, HEADS, out_bias=False), MSSA(DIM, HEADS, out_bias=False, fused=False)
        self.statistics = TSSA(DIM, HEADS, temperature=1.0)
        with torch.no_grad():
            self.statistics.to_out[0].bias.zero_()
            for layer in (self.fused, self.any_weights, self.statistics):
                layer.qkv.weight.copy_(self.projection)
                layer.to_out[0].weight.copy_(self.output)

    def step(self, call, Z):
        """Forward, a scalar loss, backward to tokens and weights; returns the output."""
        output = call()
        ours = [p for m in (self.fused, self.any_weights, self.statistics) for p in m.parameters()]
        torch.autograd.grad(output.square().sum(), [Z, *self.weights, *ours], allow_unused=True)
        return output.detach()


def heads_of(rows):
    return rows.reshape(len(rows), HEADS, RANK).transpose(0, 1)


def plain_attention(Z, layers):
    """Softmax attention as the formula reads, head after head."""
    parts = [torch.softmax(w @ w.T / math.sqrt(RANK), dim=1) @ w for w in heads_of(Z @ layers.projection.T)]
    return torch.cat(parts, 1) @ layers.output.T


def fused_attention(Z, layers):
    """The same with torch's fused kernel, which never stores the scores."""
    W = heads_of(Z @ layers.projection.T)[None]
    mixed = torch.nn.functional.scaled_dot_product_attention(W, W, W)
    return mixed[0].transpose(0, 1).flatten(1) @ layers.output.T


def plain_statistics(Z, layers):
    """Token statistics attention as the published formula reads, head after head."""
    W = heads_of(Z @ layers.projection.T)
    shares = [(w / w.norm(dim=0).clamp(min=1e-12)).square().sum(1) for w in W]
    membership = torch.softmax(torch.stack(shares, 1), dim=1)
    parts = []
    for k, w in enumerate(W):
        pi = membership[:, k]
        parts.append(-(w * pi[:, None]) / (1 + (pi / (pi.sum() + 1e-8)) @ w.square()))
    return torch.cat(parts, 1) @ layers.output.T


def plain_thresholded(Z, layers):
    """Thresholded softmax attention as the formula reads, head after head."""
    parts = []
    for w in heads_of(Z @ layers.projection.T):
        weights = torch.softmax(w @ w.T / math.sqrt(RANK), dim=1)
        parts.append(torch.where(weights > TAU, TAU, 0.0) @ w)
    return torch.cat(parts, 1) @ layers.output.T


def gathered(Z, layers):
    """Thresholded attention, ours: the one key that passes is gathered."""
    W = heads_of(Z @ layers.projection.T)
    update, _ = white_box.thresholded_attend(W, tau=TAU, scale=RANK**-0.5)
    return update.transpose(0, 1).flatten(1) @ layers.output.T


def candidates(count, layers):
    """Tokens, {name: forward pass} at `count` of them, and {name: reason} of those left out."""
    Z = torch.randn(count, DIM, generator=torch.Generator().manual_seed(count)).requires_grad_()
    calls = {
        "statistics, ours": lambda: layers.statistics(Z[None])[0],
        "statistics, head by head": lambda: plain_statistics(Z, layers),
        "softmax, ours": lambda: layers.fused(Z[None])[0],
        "softmax, torch's fused kernel": lambda: fused_attention(Z, layers),
        "softmax, ours, any weights": lambda: layers.any_weights(Z[None])[0],
        "softmax, head by head": lambda: plain_attention(Z, layers),
        "thresholded, ours": lambda: gathered(Z, layers),
        "thresholded, head by head": lambda: plain_thresholded(Z, layers),
    }
    needed, free = 5 * 4 * HEADS * count**2, psutil.virtual_memory().available
    skipped = {}
    if needed > free / 2:  # scores, their softmax, and the gradients of both stay alive in the backward pass
        reason = f"may need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        skipped = dict.fromkeys(("softmax, ours, any weights", "softmax, head by head"), reason)
    return Z, {name: call for name, call in calls.items() if name not in skipped}, skipped


def once(name, call, Z, layers):
    """One measured call: thresholded attention forward, which is how it is used, the others a training step."""
    if name.startswith("thresholded"):
        with torch.no_grad():
            return call()
    return layers.step(call, Z)


def measure(calls, Z, layers, seconds):
    """Seconds of each call of each candidate, and its matrix flops; first calls are compared within their kind."""
    reference, flops, times = {}, {}, {name: [] for name in calls}
    for name, call in calls.items():
        with FlopCounterMode(display=False) as counter:
            result = once(name, call, Z, layers)
        flops[name] = None if name in FUSED else counter.get_total_flops()
        expected = reference.setdefault(name.partition(",")[0], result)
        error = float((result - expected).abs().max() / expected.abs().max())
        if not error < 1e-4:
            raise ArithmeticError(f"{name} differs from the first of its kind by {error:.1e}; 1e-4 is allowed")
    start, rounds = time.perf_counter(), 0
    while rounds < 3 or (time.perf_counter() - start < seconds and rounds < 200):
        for name, call in calls.items():
            begin = time.perf_counter()
            once(name, call, Z, layers)
            times[name].append(time.perf_counter() - begin)
        rounds += 1
    return times, flops


def run(tokens=TOKENS, seconds=10.0):
    """Rows of the table, one per number of tokens and candidate, and the list of what was left out."""
    torch.set_num_threads(1)
    rows, left_out, layers = [], [], Layers()
    for count in tokens:
        Z, calls, skipped = candidates(count, layers)
        left_out += [{"N": count, "candidate": name, "reason": reason} for name, reason in skipped.items()]
        times, flops = measure(calls, Z, layers, seconds)
        sizes = (count, DIM, HEADS, RANK)
        forward = {
            "statistics": theory.tssa_flops(*sizes, membership="published"),
            "softmax": theory.attention_flops(*sizes),
            "thresholded": None,
        }
        for name, taken in times.items():
            kind = name.partition(",")[0]
            over = {
                other: statistics.median(own / base for own, base in zip(taken, times[FIRST[other]], strict=True))
                for other in (kind, "statistics")
            }
            rows.append(
                {"N": count, "candidate": name, "pass": "forward" if kind == "thresholded" else "forward and backward"}
                | {"milliseconds": 1e3 * statistics.median(taken), "fastest": 1e3 * min(taken), "calls": len(taken)}
                | {"over_ours": over[kind], "over_statistics": None if kind == "thresholded" else over["statistics"]}
                | {"forward_flops": forward[kind], "matrix_flops": flops[name]}
            )
    return rows, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file")
    parser.add_argument("--tokens", type=int, nargs="+", default=list(TOKENS))
    parser.add_argument("--seconds", type=float, default=10.0, help="per number of tokens; three rounds at least")
    arguments = parser.parse_args()
    rows, left_out = run(arguments.tokens, arguments.seconds)
    print(f"{'N':>5} {'candidate':30} {'ms':>9} {'fastest':>9} {'over ours':>10} {'over statistics':>16} "
          f"{'forward Mflop':>14} {'matrix Mflop':>13}")  # fmt: skip
    for row in rows:
        forward, matrix = ("" if v is None else f"{v / 1e6:.1f}" for v in (row["forward_flops"], row["matrix_flops"]))
        over = "" if row["over_statistics"] is None else f"{row['over_statistics']:.2f}x"
        print(f"{row['N']:5} {row['candidate']:30} {row['milliseconds']:9.2f} {row['fastest']:9.2f} "
              f"{row['over_ours']:9.2f}x {over:>16} {forward:>14} {matrix:>13}")  # fmt: skip
    for item in left_out:
        print(f"left out: {item['candidate']} at N={item['N']}: {item['reason']}")
    if arguments.out:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        table = {"machine": machine, "d": DIM, "K": HEADS, "p": RANK, "tau": TAU, "precision": "float32"}
        arguments.out.write_text(json.dumps(table | {"rows": rows, "left_out": left_out}, indent=1))
    return rows


if __name__ == "__main__":
    main()
