"""What a layer costs: flops counted from the traced program, and the largest array it makes."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np

from lab.claims import Equality, Rate
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Le, LogScale, Params
from lab.systems.tost import theory

T24 = "arXiv:2412.17810"
DERIVED = "derived for this laboratory; not found in arXiv:2412.17810"


class Layer(Params):
    """One layer on `tokens` tokens of dimension `dim`, with `heads` heads of rank `rank`, no batch.

    Token statistics with a membership that is given, or a softmax of energies, or that of the published layer; or
    softmax attention with one shared projection.
    """

    operator: Literal["tssa, given", "tssa, energies", "tssa, published", "attention"] = "tssa, energies"
    tokens: Annotated[int, Ge(2), Le(1_000_000), LogScale()] = 256
    dim: Annotated[int, Ge(2), Le(1024), LogScale()] = 64
    heads: Annotated[int, Ge(1), Le(16)] = 4
    rank: Annotated[int, Ge(1), Le(128), LogScale()] = 16

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.tokens, self.dim, self.heads, self.rank

    @property
    def membership(self) -> Any:
        """How the membership comes about, as `theory.tssa_flops` calls it."""
        return self.operator.removeprefix("tssa, ")


def operator(p: Layer) -> tuple[Any, list[tuple[int, ...]]]:
    """The layer as a function of arrays, and their shapes. Constants differ from 1: the compiler folds a factor 1."""
    Z, U = (p.tokens, p.dim), (p.heads, p.dim, p.rank)
    if p.operator == "attention":
        return lambda Z, U: white_box.mssa(Z, U, scale=0.3), [Z, U]
    if p.membership == "given":
        return lambda Z, U, Pi: white_box.tssa(Z, U, Pi, tau=0.7, c=3.0), [Z, U, (p.tokens, p.heads)]
    options: dict[str, Any] = {"token_normalised": True, "guard": 1e-8} if p.membership == "published" else {}
    return lambda Z, U: white_box.tssa(Z, U, tau=0.7, c=3.0, scale=0.3, **options), [Z, U]


@measurement
def counted(p: Layer, stream, *, timed: bool = False, budget: float = 0.5):
    """Flops and exponentials of the traced program, and elements of the largest array that it makes.

    Nothing is computed: the layer is traced with abstract arrays, and its operations are counted. `timed` also runs it
    on random float64 NumPy arrays and returns the least time of repeated calls, in seconds (as many as fit into
    `budget` seconds, at least 3); a time is of the machine and the moment, and no law reads it.
    """
    import jax

    layer, shapes = operator(p)
    abstract = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    tally = count(jax.make_jaxpr(layer)(*abstract).jaxpr)
    found: dict[str, Any] = {"flops": float(tally[0]), "counts": np.array(tally, dtype=float)}
    if timed:
        import time

        rng = stream.numpy("arrays")
        taken: list[float] = []
        arrays = [rng.random(shape) / np.sqrt(shape[-2]) for shape in shapes]
        layer(*arrays)
        while len(taken) < 3 or (sum(taken) < budget and len(taken) < 200):
            start = time.perf_counter()
            layer(*arrays)
            taken.append(time.perf_counter() - start)
        found["seconds"] = min(taken)
    return found


ONE_EACH = {"add", "sub", "mul", "div", "max", "gt", "select_n"}
REDUCTIONS = {"reduce_sum", "reduce_max"}
MOVES = {"broadcast_in_dim", "reshape", "squeeze", "transpose", "stop_gradient", "convert_element_type"}


def count(program: Any) -> tuple[int, int, int]:
    """(flops, exponentials, elements of the largest array made) of a traced program, by the rules of `theory.cost`.

    An operation without a rule raises: nothing is left out silently. What no output depends on (tests of traced input,
    which cannot act) is not part of the program.
    """
    flops = exponentials = largest = 0
    needed = {id(v) for v in program.outvars}
    for equation in reversed(program.eqns):
        if not any(id(v) in needed for v in equation.outvars):
            continue
        needed |= {id(v) for v in equation.invars}
        name, size = equation.primitive.name, math.prod(equation.outvars[0].aval.shape)
        shapes = [v.aval.shape for v in equation.invars]
        if name in ("jit", "pjit"):
            inner = count(equation.params["jaxpr"].jaxpr)
            flops, exponentials, largest = flops + inner[0], exponentials + inner[1], max(largest, inner[2])
        elif name == "dot_general":
            contracted = equation.params["dimension_numbers"][0][0]
            flops += 2 * size * math.prod(shapes[0][axis] for axis in contracted)
        elif name in REDUCTIONS:
            flops += math.prod(shapes[0]) - size
        elif name in ONE_EACH:
            flops += size
        elif name == "exp":
            exponentials += size
        elif name not in MOVES:
            raise NotImplementedError(f"no rule to count {name!r}; add it to the counted operations or to the moves")
        largest = max(largest, size)
    return flops, exponentials, largest


def counts(p: Layer, *, projections: int = 2, pairs: bool = True) -> np.ndarray:
    """(flops, exponentials, largest array); `projections` and ``pairs=False`` leave out parts."""
    attention = p.operator == "attention"
    flops = theory.attention_flops(*p.sizes) if attention else theory.tssa_flops(*p.sizes, membership=p.membership)
    flops -= 2 * (2 - projections) * p.tokens * p.dim * p.heads * p.rank
    exponentials = 0 if p.membership == "given" else theory.exponentials(p.tokens, p.heads, attention=attention)
    biggest = theory.attention_largest(*p.sizes) if attention and pairs else theory.tssa_largest(*p.sizes)
    return np.array([flops, exponentials, biggest], dtype=float)


LINEAR_COST = Law(
    id="tost/linear-cost",
    source=Source(T24, "complexity of the operator, there as an order; counts derived here"),
    statement="""
    One layer on N tokens of dimension d with K heads of rank p takes, exactly,

        4NdKp + 4NKp + NK + 4Kp + K        token statistics, given membership (no exponential);
        + 2NKp + 4NK - 2N, NK exponentials    its membership by a softmax of energies;
        + 2NKp + Kp - K                    energies normalised over tokens and guarded masses, as published;
        4NdKp + 4N²Kp + 5KN² - 2KN, KN² exponentials    softmax attention with one shared projection.

    The largest array is N max(d, Kp) (or a frame's dKp) for token statistics, the KN² scores for attention. What
    connects the tokens are Kp numbers, the second moments. Counted: every addition, multiplication, division, maximum,
    comparison and selection of the program as written, two per term of a matrix product, exponentials apart.
    """,
    params=Layer,
    predict=counts,
    measure=counted,
    claim=Equality(of="counts", resolve=1e-9, scale=lambda p: np.maximum(counts(p), 1.0)),
    controls={
        "one projection": but(predict=partial(counts, projections=1)),
        "scores never stored": but(predict=partial(counts, pairs=False)),
    },
    examples=(
        Layer(operator="tssa, given"), Layer(), Layer(operator="tssa, published"), Layer(operator="attention"),
        Layer(operator="attention", tokens=100_000), Layer(tokens=1_000_000),
    ),
    draws=Draws(shapes=6, values=2),
)  # fmt: skip


def octaves(p: Layer) -> np.ndarray:
    """2^8 to 2^19 tokens"""
    return 2 ** np.arange(8, 20)


def exponent(p: Layer, *, swapped: bool = False) -> float:
    return 2.0 if (p.operator == "attention") != swapped else 1.0


COST_EXPONENTS = Law(
    id="tost/cost-exponents",
    source=Source(T24, "linear-time attention"),
    statement="""
    As N grows, the flops of token statistics self-attention grow like N, those of softmax attention like N²: slopes of
    log flops against log N, counted exactly and extrapolated. Times follow only once the arrays are large, and then up
    to the caches; the study tost/step-and-cost shows them.
    """,
    params=Layer,
    predict=exponent,
    measure=counted,
    claim=Rate(of="flops", along="tokens", order=1.0, axis=octaves, resolve=0.05),
    controls={"exponents swapped": but(predict=partial(exponent, swapped=True))},
    examples=(Layer(), Layer(operator="tssa, published"), Layer(operator="attention", dim=16, rank=4)),
    draws=Draws(shapes=0),
)
