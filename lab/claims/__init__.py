"""Claims: how a prediction is compared with a measurement.

Six kinds, each an acceptance region (any prediction inside it would have passed) from which one function derives
verdict, margin and resolution: `Equality`, `Bound`, `Rate`, `Crossover`, `Limit`, `Classification`.

The allowance comes from named sources: *rounding* (units of machine epsilon), *statistics* (Student, exact binomial,
bootstrap), *finite size* (fits, grid steps, next-order terms), *prediction* (its own error) and *stated* (a width that
is part of an approximate statement).
"""

from lab.claims.curves import Crossover, Limit, Rate
from lab.claims.region import Acceptance, Evidence, Verdict, decide
from lab.claims.values import Bound, Claim, Classification, Equality

__all__ = [
    "Acceptance",
    "Bound",
    "Claim",
    "Classification",
    "Crossover",
    "Equality",
    "Evidence",
    "Limit",
    "Rate",
    "Verdict",
    "decide",
]
