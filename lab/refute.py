"""Hunting counterexamples: plain sampling first, then Hypothesis, targeted at the margin and shrunk.

Plain sampling is quicker than guided search where a good share of the domain refutes; the guided search finds the
rest, and shrinks what either found to a simple point.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.errors import InputError, OutOfDomain
from lab.judge import Check, check

if TYPE_CHECKING:
    from lab.law import Law
    from lab.params import Params

__all__ = ["Counterexample", "refute"]


@dataclass(frozen=True)
class Counterexample:
    """A point at which a law is refuted, after `tried` points."""

    law: Law
    p: Params
    check: Check
    tried: int
    found_by: str

    @property
    def replay(self) -> str:
        """A line of Python that judges the point again."""
        values = ", ".join(f"{k}={v!r}" for k, v in self.p.values().items())
        return f'import lab; print(lab.find("{self.law.id}").check(dict({values}), seed={self.check.seed}))'

    def __str__(self) -> str:
        reason = self.check.worst().verdict.reason
        return f"{self.law.id} is refuted at {json.dumps(self.p.values())}: {reason}"


def refute(law: Law, *, examples: int = 200, seed: int = 0) -> Counterexample | None:
    """Search a law's domain for a point where it is refuted, and shrink it.

    Parameters
    ----------
    examples : int
        Points to try: a third by plain sampling, the rest by Hypothesis, which climbs the margin. Shrinking tries
        at most as many again.

    Returns
    -------
    Counterexample or None
        None says only that `examples` points refuted nothing.

    Notes
    -----
    A hit of the sampler is handed to Hypothesis as a value that each field may take, so that shrinking starts from it
    and simplifies one field after the other. The law's own examples are not tried: an erratum's printed form must be
    refuted from its domain, not from its counterexample.
    """
    if examples < 1:
        raise InputError(f"examples={examples} must be at least 1; give e.g. examples=200")
    from lab.sweeps.engine import Engine

    engine = Engine()
    rng = np.random.default_rng([seed, *law.id.encode()])
    tried, hit, first = 0, None, None
    for _ in range(max(1, examples // 3)):
        p = law.params.sample(rng)
        tried += 1
        found = check(law, (p,), seed=seed, engine=engine)
        if found.refuted:
            hit, first = p, found
            break
    shrunk, more = _search(law, max(1, examples - tried), seed, engine, near=hit)
    tried += more
    if shrunk is not None:
        by = "Hypothesis" if hit is None else "sampling, shrunk by Hypothesis"
        return Counterexample(law, shrunk.groups[0].p, shrunk, tried, by)
    if hit is not None and first is not None:
        return Counterexample(law, hit, first, tried, "sampling")
    return None


def _search(law: Law, examples: int, seed: int, engine: Any, near: Params | None) -> tuple[Check | None, int]:
    """The smallest refuted check that Hypothesis finds, and the number of points it tried."""
    import hypothesis
    from hypothesis import HealthCheck, Phase, given, settings, target

    last: list[Check] = []
    tried = 0

    class Refuted(Exception):
        """Raised by the property at a refuted point; Hypothesis keeps the simplest."""

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.target, Phase.shrink), report_multiple_bugs=False, print_blob=False,
    )  # fmt: skip
    @given(law.params.strategy(near=near))
    def property(p: Params) -> None:
        nonlocal tried
        tried += 1
        try:
            found = check(law, (p,), seed=seed, engine=engine)
        except OutOfDomain:  # the claim's axis left the domain at this point
            hypothesis.reject()
        if found.refuted:
            last.append(found)
            raise Refuted
        margin = found.verdict.margin
        if margin is not None and np.isfinite(margin):
            target(float(margin))

    try:
        property()
    except Refuted:
        # Hypothesis replays the simplest failing example last
        return last[-1], tried
    except hypothesis.errors.Unsatisfiable:
        return None, tried
    return None, tried
