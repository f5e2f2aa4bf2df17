"""A law: one theorem, formula or scaling claim, written once; it yields check, plot and verdict.

A law joins a *domain* (`Params`), a *prediction* (closed form), a *measurement* (generator and small model) and a
*claim* (how the two are compared), and brings *controls*: the law with an assumption broken, which must be refuted.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from lab.claims import Claim
from lab.errors import InputError, nearest
from lab.measure import Plan, plan
from lab.params import Params

if TYPE_CHECKING:
    from lab.judge import Check

__all__ = ["Change", "Draws", "Law", "Source", "but"]


@dataclass(frozen=True)
class Source:
    """Where a statement is published: reference (arXiv id, or that it was derived here) and place in it."""

    reference: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.reference}, {self.where}" if self.where else self.reference


@dataclass(frozen=True)
class Draws:
    """How many points of the domain a check draws beyond the examples: few static shapes, many values in each.

    ``shapes=0`` judges the examples alone (costly laws). `replicates` is the number of independent repetitions of
    each point.
    """

    shapes: int = 4
    values: int = 8
    replicates: int = 1


@dataclass(frozen=True)
class Change:
    """What a control or erratum replaces in its law; made by `but`."""

    changes: Mapping[str, Any]


def but(**changes: Any) -> Change:
    """This law with these fields replaced, e.g. ``but(measure=partial(f, init="gauss"))``."""
    return Change(changes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Law:
    """One theorem, formula or scaling claim.

    Parameters
    ----------
    id : str
        ``system/name``.
    source : Source or str
        Publication and place; or that the statement was derived here.
    params : Params class
        The domain: the theorem's assumptions as a type.
    predict : function of (p) or (p, data)
        What the claim is about: a value, a location, an exponent. Called once per group on the host, with `data` (the
        situation) once per replicate. A *tuple* ``(value, error)`` gives its own error; vectors are arrays or lists.
    measure : measurement, or ``functools.partial(measurement, knob=value)``
        Returns observables; ``(p, stream)``, or ``(p, data, stream)`` with a situation.
    claim : Claim
        How the two are compared.
    situation : function of (p, stream) returning a dict of arrays, optional
        The random instance on which both prediction and measurement depend.
    controls : mapping of name to `but(...)`
        At least one: the law with something broken, expected to be refuted.
    examples : tuple of Params
        Points that a check always judges.
    draws : Draws
        How many more points it draws.
    curve : function of (p), optional
        Line to draw through the raw points where the prediction is not itself such a line.
    statement : str
        The statement in words and formulas, with its conventions; default: docstring of `predict`.
    erratum_of : str, optional
        Set by `printed`: the id of the corrected law.
    expected : "holds" or "refuted"
        The verdict that a check must give.
    """

    id: str
    source: Source | str
    params: type[Params]
    predict: Callable[..., Any]
    measure: Any
    claim: Claim
    situation: Callable[..., Any] | None = None
    controls: Mapping[str, Change] = field(default_factory=dict)
    examples: tuple[Params, ...] = ()
    draws: Draws = Draws()
    curve: Callable[[Any], Any] | None = None
    statement: str = ""
    erratum_of: str | None = None
    expected: str = "holds"

    def __post_init__(self) -> None:
        if self.id.count("/") != 1 or not all(self.id.split("/")):
            raise InputError(f"law id {self.id!r} is not of the form system/name")
        if not str(self.source).strip():
            raise InputError(f"law {self.id} has no source; name the paper and theorem, or say it was derived here")
        if not self.controls and self.expected == "holds":
            raise InputError(
                f"law {self.id} has no control; add controls={{'name': but(...)}}: "
                "a check that cannot fail shows nothing"
            )
        for name, control in self.controls.items():
            if not isinstance(control, Change):
                raise InputError(f"law {self.id}: control {name!r} is {control!r}; write but(field=value)")
            _known_fields(control.changes)
        for example in self.examples:
            if not isinstance(example, self.params):
                raise InputError(f"law {self.id}: example {example!r} is not a {self.params.__name__}")
        along, axis = self.claim.axis_name, getattr(self.claim, "axis", None)
        if along and along in self.params.model_fields and axis is None:
            raise InputError(f"law {self.id}: the claim runs along {along!r}; give it axis=lambda p: values for checks")
        _ = self.plan  # fails now on a measure that is none

    @property
    def system(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]

    @property
    def kind(self) -> str:
        """Kind of the claim."""
        return self.claim.kind

    @property
    def plan(self) -> Plan:
        """Measurement, knobs and situation: what the rows belong to."""
        return plan(self.measure, self.situation)

    @property
    def words(self) -> str:
        """The statement for people."""
        return inspect.cleandoc(self.statement or self.predict.__doc__ or self.params.__doc__ or "")

    def control(self, name: str) -> Law:
        """The law with one control's changes, expected to be refuted."""
        if name not in self.controls:
            raise nearest(f"control of {self.id}", name, self.controls)
        return replace(self, **self.controls[name].changes, controls={}, expected="refuted")

    def printed(
        self, id: str, *, at: tuple[Params, ...], source: Source | str | None = None, statement: str = "",
        **changes: Any,
    ) -> Law:  # fmt: skip
        """An erratum: this law in its published, wrong form, with counterexamples `at` which it is refuted.

        It is a registered law of its own, sharing rows and draws with the corrected one. Unless `draws` is among the
        changes, the counterexamples alone are judged.
        """
        _known_fields(changes)
        if not at:
            raise InputError(f"erratum {id} needs a counterexample: at=(Params(...),)")
        changes = {"draws": replace(self.draws, shapes=0), **changes}
        return replace(
            self, id=id, examples=at, controls={}, expected="refuted", erratum_of=self.id,
            source=self.source if source is None else source, statement=statement, **changes,
        )  # fmt: skip

    def check(self, *points: Any, control: str | None = None, seed: int = 0, **options: Any) -> Check:
        """Judge the law (or one of its controls) at `points`, by default at its examples and drawn points.

        Points are `Params` or dicts of their values. Options: `examples` (number of drawn points), `engine`.
        Does not change any global configuration.
        """
        from lab.judge import check

        law = self if control is None else self.control(control)
        chosen = tuple(law.params(**p) if isinstance(p, Mapping) else p for p in points)
        return check(law, chosen, seed=seed, **options)

    def accepts(self, p: Params, value: Any, *, seed: int = 0) -> bool:
        """Whether the claim, from its own measurement at `p`, would have passed `value` as the prediction.

        For theory checks: a value computed by an independent route is held against the same derived tolerance.
        """
        from lab.judge import check

        return not check(replace(self, predict=lambda *_: value), (p,), seed=seed).refuted


def _known_fields(changes: Mapping[str, Any]) -> None:
    names = {f.name for f in fields(Law)} - {"id", "controls", "expected", "erratum_of"}
    for name in changes:
        if name not in names:
            raise nearest("field of Law", name, names)
