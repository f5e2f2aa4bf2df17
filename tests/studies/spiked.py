"""A user's own study: when does the leading principal component see a planted direction? (Paul 2007)"""

import math
from functools import partial
from typing import Annotated

from lab import Draws, Equality, Ge, Grid, Law, Le, Params, Study, but, measurement, plot


class Spiked(Params):
    """One planted direction of strength `snr` in n Gaussian samples of dimension d."""

    d: Annotated[int, Ge(20), Le(400)] = 200
    n: Annotated[int, Ge(40), Le(800)] = 400
    snr: Annotated[float, Ge(0.05), Le(3.0)] = 1.5


def overlap(p):
    """Squared overlap (1 - r/snr^2)/(1 + r/snr), r = d/n, and 0 below the threshold snr = sqrt(r)."""
    ratio = p.d / p.n
    return max(0.0, (1 - ratio / p.snr**2) / (1 + ratio / p.snr))


@measurement(runs="jax", paired=("snr",))
def leading(p, stream, *, heavy=False):
    import jax
    import jax.numpy as jnp

    X = jax.random.normal(stream.jax("noise"), (p.n, p.d))
    if heavy:
        X = X / jnp.sqrt(jax.random.gamma(stream.jax("tail"), 1.0, (p.n, 1)))
    X = X.at[:, 0].add(jnp.sqrt(p.snr) * jax.random.normal(stream.jax("score"), (p.n,)))
    return {"overlap": jnp.linalg.eigh(X.T @ X)[1][0, -1] ** 2}


def two_over_root_n(p):
    """fluctuations of the edge and of the overlap are O(n^-1/2); 2 covers the constant away from the threshold"""
    return 2 / math.sqrt(p.n)


LAW = Law(
    id="pca/overlap", source="Paul 2007, Statistica Sinica 17", params=Spiked, predict=overlap, measure=leading,
    claim=Equality(of="overlap", over="mean", finite_size=two_over_root_n, scale=1.0, resolve=0.25),
    controls={"heavy tails": but(measure=partial(leading, heavy=True))},
    examples=(Spiked(),), draws=Draws(shapes=0, replicates=30),
)  # fmt: skip

STUDY = Study(
    "pca/transition", laws=(LAW,), title="The leading component sees a planted direction above sqrt(d/n)",
    presets={"smoke": Grid(d=100, n=200, snr=[0.1 * i for i in range(1, 31)], replicates=30)},
)  # fmt: skip


@STUDY.figure
def draw(ax, rows):
    plot.theory_line(ax, LAW, rows, x="snr", label="theory")
    plot.measured_points(ax, rows, x="snr", y="overlap", label="measured, 95 %")
    ax.set(xlabel="signal-to-noise ratio", ylabel="squared overlap")
    ax.legend()


if __name__ == "__main__":
    STUDY.cli()
