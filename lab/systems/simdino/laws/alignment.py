"""Alignment of student and teacher: what the empirical loss over views estimates, and which pairs it may count."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.views import two_view_linear
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.self_distillation import alignment
from lab.params import Ge, Le, LogScale, Params
from lab.systems.simdino import theory

BOOK = "Ma-Lab-Berkeley/deep-representation-learning-book"


class LinearViews(Params):
    """`views` of one signal seen by a linear student, the first `seen` of them by a linear teacher."""

    inputs: Annotated[int, Ge(1), Le(5)] = 3
    dim: Annotated[int, Ge(1), Le(5)] = 2
    views: Annotated[int, Ge(2), Le(5)] = 3
    seen: Annotated[int, Ge(1), Le(3)] = 2
    noise: Annotated[float, Ge(1e-3), Le(10.0), LogScale()] = 0.5
    same: bool = False

    @model_validator(mode="after")
    def _teacher_sees_some(self) -> Self:
        if self.seen > self.views:
            raise ValueError(f"seen={self.seen} exceeds views={self.views}; the teacher sees the first of them")
        return self


def encoders(p: LinearViews, stream) -> dict[str, np.ndarray]:
    """Moments of signal and noise, of random orientation, and the weights: of the teacher the student's if `same`."""
    rng = stream.numpy("encoders")
    factors = rng.standard_normal((2, p.inputs, p.inputs))
    signal, noise = (A @ A.T / p.inputs for A in factors)
    student, teacher = rng.standard_normal((2, p.inputs, p.dim))
    return {"signal": signal, "noise": p.noise * noise, "student": student, "teacher": student if p.same else teacher}


@measurement
def empirical_alignment(
    p: LinearViews, data, stream, *, pairs: Literal["cross", "all", "printed"] = "cross", exact: bool = True
):
    """Alignment of linear features on samples with exact moments; "printed": sum of all pairs over the number of cross
    pairs; ``exact=False`` draws the samples as they come."""
    n = 2 * (1 + p.views) * p.inputs
    X = two_view_linear(
        stream.numpy("views"), signal=data["signal"], noise=data["noise"], n=n, views=p.views, exact=exact
    ).x
    student, teacher = X @ data["student"], X[: p.seen] @ data["teacher"]
    value = alignment(student, teacher, pairs="cross" if pairs == "cross" else "all")
    return {"alignment": value * (p.views / (p.views - 1) if pairs == "printed" else 1.0)}


def expected(p: LinearViews, data) -> float:
    return theory.expected_alignment(data["student"], data["teacher"], signal=data["signal"], noise=data["noise"])


def sum_of_squares(p: LinearViews, data) -> float:
    """a sum of n dim squares of differences, and the rounding of exact moments by a QR of (1+V) inputs columns: n plus
    the columns, times the size of the two quadratic forms"""
    total = data["signal"] + data["noise"]
    size = sum(np.sum(data[name] * (total @ data[name])) for name in ("student", "teacher"))
    return 8 * (1 + p.views) * p.inputs * size


ALIGNMENT_PAIRS = Law(
    id="simdino/alignment-pairs",
    source=Source("arXiv:2502.10385", "alignment term; for linear encoders derived here"),
    statement="""
    The empirical alignment, a mean over the pairs (teacher view g, student view v) of different views, is the
    alignment cost of the population:

        (1/2) E |x W_s - x' W_t|^2 = (1/2) tr(W_s^T C W_s + W_t^T C W_t) - tr W_s^T Sigma_s W_t

    for views x = s + n, x' = s + n' that share the signal only (samples with exact moments). Pairs of one view with
    itself share the noise too and must not count: with them the cost of a teacher equal to the student is too low.
    """,
    params=LinearViews,
    situation=encoders,
    predict=expected,
    measure=empirical_alignment,
    claim=Equality(of="alignment", rounding=sum_of_squares, resolve=1e-6),
    controls={
        "same views counted": but(measure=partial(empirical_alignment, pairs="all")),
        "samples as they come": but(measure=partial(empirical_alignment, exact=False)),
    },
    examples=(LinearViews(), LinearViews(same=True), LinearViews(views=2, seen=1)),
    draws=Draws(shapes=8, values=4),
)

ALIGNMENT_PAIRS_PRINTED = ALIGNMENT_PAIRS.printed(
    "simdino/alignment-pairs-printed",
    source=Source(BOOK, "empirical SimDINO loss, chapter on real-world data"),
    statement="""
    Printed: the empirical loss sums the squared distances over all pairs (global teacher view i, student view j), j = i
    included, and divides by M_glo (M_glo + M_loc - 1), the number of pairs with j different from i. It is then no mean:
    weights add up to V/(V - 1), V = M_glo + M_loc, and pairs of one view with itself enter. For two views the cost of
    fixed encoders is off by a term of order one. The formula for DINO beside it and the released code leave j = i out.
    """,
    measure=partial(empirical_alignment, pairs="printed"),
    at=(LinearViews(), LinearViews(views=2), LinearViews(inputs=1, dim=1, views=2, seen=1)),
)
