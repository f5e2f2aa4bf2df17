"""How classes that overlap divide the directions between them: who wins, by which dynamics, and the ranks."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab import streams
from lab.claims import Classification, Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params, Traced
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.starts import wishart_factors

DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"


# ---------------------------------------------------------------------- one direction


class Shared(Params):
    """Three classes that share all d directions; along each, class 1 has (1 + `offset`)^(+-1) times the second moment
    of class 2 (`above` 1: larger) and class 3 a smaller one.

    `u` is the sum of the reduced squared singular values along a direction; lambda is `fraction` of the smallest
    lambda_c(x_k).
    """

    dim: Annotated[int, Ge(2), Le(6)] = 4
    first: Annotated[int, Ge(6), Le(60), Traced()] = 10
    second: Annotated[int, Ge(6), Le(60), Traced()] = 40
    third: Annotated[int, Ge(6), Le(60), Traced()] = 20
    u: Annotated[float, Ge(2.0), Le(1000.0), LogScale()] = 10.0
    fraction: Annotated[float, Ge(0.1), Le(0.7)] = 0.3
    offset: Annotated[float, Ge(1e-3), Le(0.5), LogScale()] = 1e-3
    above: Annotated[int, Ge(0), Le(1), Traced()] = 1


@measurement(runs="jax")
def survivors(p: Shared, stream, *, per_sample: float = 1.0, steps: int = 1200):
    """Which class ends up along each direction (d,), and whether one did; `settled` where F's gradient vanished.

    The offset is one of ``u_k / x_k**per_sample`` (1 in the law: second moments; 0: energies).
    """
    import jax
    import jax.numpy as jnp

    from lab.systems.mcr2.ascent import Blocks

    sizes = jnp.stack([jnp.asarray(n, dtype=float) for n in (p.first, p.second, p.third)])
    x = sizes / jnp.sum(sizes)
    tau = p.fraction * jnp.min((1 - jnp.sqrt(x)) / (1 + jnp.sqrt(x)))
    low = streams.uniform(stream.jax("third"), (p.dim,), minval=0.2, maxval=0.8)
    gap = jnp.where(p.above > 0, 1 + p.offset, 1 / (1 + p.offset))
    moment = jnp.stack([jnp.full(p.dim, gap), jnp.ones(p.dim), low]) * x[:, None] ** per_sample
    u = p.u * moment / jnp.sum(moment, axis=0)
    right = jnp.linalg.qr(streams.normal(stream.jax("right"), (p.dim, p.dim)))[0]
    left = jnp.linalg.qr(streams.normal(stream.jax("left"), (3, p.dim, p.dim)))[0]
    objective = Blocks(x, tau)

    def climb(_, V):
        return V + objective.gradient(V)

    Y = jax.lax.fori_loop(0, steps, climb, left @ (jnp.sqrt(u)[..., None] * right.T))
    along = jnp.sum((Y @ right) ** 2, axis=1)
    winner, settled = jnp.argmax(along, axis=0), jnp.sort(along, axis=0)
    one = (settled[-1] > jnp.sqrt(jnp.min(x))) & (settled[-2] < 1e-8)
    return {"winner": winner, "one": one, "along": along}


def predicted_winner(p: Shared) -> int:
    """0 for class 1, 1 for class 2."""
    gap = (1 + p.offset) ** (1 if p.above else -1)
    x = np.array([p.first, p.second, p.third]) / (p.first + p.second + p.third)
    return int(theory.winner_of_direction(x * [gap, 1.0, 0.5], x))


def signed_offset(p: Shared) -> float:
    return p.offset if p.above else -p.offset


WINNER_OF_A_DIRECTION = Law(
    id="mcr2/winner-of-a-direction",
    source=Source(DERIVED),
    statement="""
    Where the Gram matrices of all classes commute, each common direction is a competition of its own, and the order of
    the second moments u_k/x_k along it (u_k = alpha sigma^2 of class k, x_k = N_k/N) never changes under gradient flow.
    At most the class with the largest survives there: neither the number of its samples nor its energy counts, nor
    the scale of the start. Judged are directions along which exactly one class survived.
    """,
    params=Shared,
    predict=predicted_winner,
    measure=survivors,
    claim=Classification(of="winner", given="one", distance=signed_offset, resolve=0.01),
    controls={
        "energies instead of second moments": but(measure=partial(survivors, per_sample=0.0)),
        "the class with more samples": but(predict=lambda p: int(p.second > p.first)),
    },
    examples=tuple(
        Shared(above=above, first=first, second=second, u=u, fraction=fraction, offset=offset)
        for above in (0, 1) for first, second in ((10, 40), (40, 10), (20, 20), (60, 6))
        for u, fraction, offset in ((10.0, 0.3, 1e-3), (300.0, 0.6, 1e-3), (3.0, 0.1, 0.03), (1000.0, 0.1, 0.3))
    ),
    draws=Draws(shapes=0),
)  # fmt: skip


# ---------------------------------------------------------------------- many directions: the closed form


class Competition(Params):
    """Gaussian classes of full rank; the regulariser is weakened along `steps`, tau = time/steps.

    `energy` is tau times the mean reduced squared singular value of all samples together; the run ends at `progress`
    of the time at which the first class loses a direction.
    """

    sizes: Annotated[tuple[Annotated[int, Ge(4), Le(40)], ...], MinLen(2), MaxLen(4)] = (6, 10, 14)
    dim: Annotated[int, Ge(1), Le(4)] = 3
    energy: Annotated[float, Ge(0.1), Le(10.0), LogScale()] = 1.0
    progress: Annotated[float, Ge(0.2), Le(0.8)] = 0.6

    @model_validator(mode="after")
    def _spanning(self) -> Self:
        if min(self.sizes) < self.dim + 2:
            raise ValueError(
                f"sizes={self.sizes}: every class needs dim+2={self.dim + 2} samples to span the space well; raise them"
            )
        return self


AXIS = (30, 42, 60, 85, 120, 170, 240)


def spanning(p: Competition, stream) -> dict[str, np.ndarray]:
    """Start in units in which lambda = 1, and the time of the run in units of 1/lambda."""
    n = sum(p.sizes)
    Z = np.sqrt(p.energy / n) * stream.numpy("features").standard_normal((n, p.dim))
    return {"Z": Z, "time": np.array(p.progress * theory.time_to_first_loss(grams(Z, p.sizes), p.sizes))}


def grams(Z: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Z_k^T Z_k."""
    return np.stack([part.T @ part for part in np.split(Z, np.cumsum(sizes)[:-1])])


@measurement
def competed(p: Competition, data, stream, *, class_share: float = 1.0):
    """Gram matrices lambda Z_k^T Z_k at the end of ascent in T steps of length 1/alpha, tau = time/T, along T.

    lambda = 1, alpha = T/time. `class_share` multiplies the class rates in the objective (1 in the law).
    """
    found = []
    for steps in AXIS:
        alpha = steps / data["time"]
        level = {"eps": np.sqrt(p.dim / (sum(p.sizes) * alpha))}
        Z = data["Z"]
        for _ in range(steps):
            slope = coding_rate.coding_rate_gradient(Z, **level) - class_share * coding_rate.class_coding_rate_gradient(
                Z, p.sizes, **level
            )
            Z = Z + (slope - Z) / alpha
        found.append(grams(Z, p.sizes))
    return {"steps": np.array(AXIS), "grams": np.stack(found)}


def closed_form(p: Competition, data, *, form=theory.competing_grams) -> np.ndarray:
    """The same Gram matrices at every T."""
    return np.stack([form(grams(data["Z"], p.sizes), p.sizes, float(data["time"]))] * len(AXIS))


def shrunk_alone(start, sizes, time: float):
    """What the regulariser would do without any competition."""
    return np.exp(-2 * time) * start


def competition_scale(p: Competition) -> float:
    """Energy of a direction of the whole at the start, in units of 1/lambda: what Gram matrices are made of."""
    return p.energy


def next_order(p: Competition) -> float:
    """4/T^2 of that scale, T the shortest run of the half from which the limit is read: the next order, whose
    coefficient is about the square of the first one, c in c/T; c is at most 2, since to first order steps and rates
    each distort the exponents 2t and sH, of order one, by their size over T"""
    return 4 * p.energy / AXIS[len(AXIS) // 2] ** 2


COMPETITION_OF_CLASSES = Law(
    id="mcr2/competition-of-classes",
    source=Source(DERIVED),
    statement="""
    As the regulariser weakens, tau -> 0 at fixed g_k = lambda Z_k^T Z_k (large features, u ~ 1/tau), classes that span
    the space follow gradient flow in closed form, with t in units of 1/lambda and g = sum_k g_k:

        g_k(t) = e^{-2t} [x_k g(0) + e^{sH} (g_k(0) - x_k g(0)) e^{sH}],   H = g(0)^-1,  s = (e^{2t} - 1)/2,

    until a class loses its first direction. The whole only shrinks; what a class has more or less than its share x_k
    grows by congruence, so the numbers of positive and negative eigenvalues of S_k - S are conserved: a start has its
    split of directions built in. Its scale is forgotten: at equal amplitude of the whole, s H is the same for g(0) and
    c g(0), up to 1/c.
    """,
    params=Competition,
    situation=spanning,
    predict=closed_form,
    measure=competed,
    claim=Limit(
        of="grams", along="steps", order=1.0, as_="difference", stated=next_order, scale=competition_scale, resolve=0.01
    ),
    controls={
        "no competition": but(predict=partial(closed_form, form=shrunk_alone)),
        "class rates a tenth too strong": but(measure=partial(competed, class_share=1.1)),
    },
    examples=(Competition(), Competition(sizes=(6, 30), dim=2, energy=5.0)),
    draws=Draws(shapes=2, values=1),
)


# ---------------------------------------------------------------------- many directions: the ranks


class TwoClasses(Params):
    """Two classes of N_1 = `first` and N_2 = round(ratio N_1) samples; ascent from Gaussian features.

    The entries of the start have variance `energy`/(alpha N); lambda is `fraction` of lambda_c of the larger class.
    """

    dim: Annotated[int, Ge(1), Le(16)] = 6
    first: Annotated[int, Ge(2), Le(100000), LogScale(), Traced()] = 20
    ratio: Annotated[float, Ge(1.0), Le(5.0)] = 2.0
    fraction: Annotated[float, Ge(0.1), Le(0.7)] = 0.3
    energy: Annotated[float, Ge(5.0), Le(1e5), LogScale()] = 100.0
    steps: Annotated[int, Ge(100)] = 600


@measurement(runs="jax", paired=("energy", "fraction"))
def split(p: TwoClasses, stream, *, apart: float = 0.0):
    """Ranks of both classes after ascent, and `above`, how many eigenvalues of S_1 - S_2 are positive at the start.

    `wrong` is 1 where a class has more directions than the inertia of S_1 - S_2 gives it, else 0; `died` counts
    directions that neither has. `apart` adds the difference of another, independent start to S_1 - S_2 (0 in the law).
    """
    import jax
    import jax.numpy as jnp

    from lab.systems.mcr2.ascent import Blocks

    sizes = jnp.stack([jnp.asarray(p.first, dtype=float), (p.ratio * p.first + 0.5) // 1])
    x = sizes / jnp.sum(sizes)
    rows = wishart_factors(stream, sizes, p.dim)
    moments = jnp.swapaxes(rows, -1, -2) @ rows / sizes[:, None, None]
    tau = p.fraction * jnp.min((1 - jnp.sqrt(x)) / (1 + jnp.sqrt(x)))
    objective = Blocks(x, tau)
    start = jnp.sqrt(p.energy / jnp.sum(sizes)) * rows
    Y = jax.lax.fori_loop(0, p.steps, lambda _, V: V + objective.gradient(V), start)
    _, gradient, end = objective.observe(Y)
    ranks = jnp.sum(end > 1e-4 * jnp.sqrt(x)[:, None], axis=1)

    noise = streams.normal(stream.jax("apart"), (p.dim, p.dim)) / jnp.sqrt(sizes[0])
    difference = moments[0] - moments[1] + apart * (noise + noise.T)
    above = jnp.sum(jnp.linalg.eigvalsh(difference) > 0)
    return {
        "wrong": 1.0 * jnp.any(ranks > jnp.stack([above, p.dim - above])), "died": p.dim - jnp.sum(ranks),
        "ranks": ranks, "above": above, "converged": gradient <= 1e-8,
    }  # fmt: skip


SPLIT_BY_INERTIA = Law(
    id="mcr2/split-by-inertia",
    source=Source(DERIVED),
    statement="""
    Two classes, ascent from Gaussian features larger than the maximum. With probability 1 as N_k/d grows no direction
    goes to the wrong class: the rank of class 1 is at most the number of positive, that of class 2 at most the number
    of negative eigenvalues of S_1 - S_2, the difference of second moments (Z_k^T Z_k/N_k) at the start; together d, so
    equality where no direction dies. The split depends on the seed but not on the scale of the start, and the expected
    ranks become equal, whatever the class sizes. Only near ties die: ascent amplifies a relative difference at most by
    e^(1/tau) before both classes have shrunk away.

    Why: S_1 - S_2 is of order sqrt(d/N), its commutator with S of order d/N; for commuting moments it is exact
    (mcr2/winner-of-a-direction), and in general until a class loses a direction (mcr2/competition-of-classes).
    Measured is the share of starts in which some direction goes to the wrong class, along N_1.
    """,
    params=TwoClasses,
    predict=lambda p: 0.0,
    measure=split,
    claim=Limit(
        of="wrong", along="first", order=1.0, as_="difference", scale=lambda p: 1.0, resolve=0.1,
        axis=lambda p: np.array([8, 10, 12, 15, 20, 26, 34, 45, 60, 80]),
    ),
    controls={"another start": but(measure=partial(split, apart=1.0))},
    examples=(TwoClasses(),),
    draws=Draws(shapes=0, replicates=200),
)  # fmt: skip
