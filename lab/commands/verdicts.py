"""``lab check`` and ``lab refute``: laws judged over their domains, and hunted."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.commands.names import is_file, laws_named
from lab.commands.output import console, count, number, point, print_json, progress, silent, table
from lab.errors import InputError

if TYPE_CHECKING:
    from lab.judge import Check
    from lab.law import Law
    from lab.refute import Counterexample

__all__ = ["check_laws", "refute_law"]


def check_laws(
    names: Sequence[str], *, examples: int | None = None, seed: int = 0, workers: int = 0, as_json: bool = False
) -> int:
    """Judge laws and their controls, and print one row for each.

    Returns
    -------
    int
        0 if all laws hold and all controls and printed errata are refuted, else 1.

    Notes
    -----
    Laws of one measurement share an engine, so that controls and printed forms reuse rows and compiled programs; with
    `workers` they go to processes of their own, a measurement to one process. Rows of training runs (iterated
    measurements) that a study has left under ``results`` are judged as they are. A law that raises is *undecided* with
    the error as its reason: it must not hide the verdicts of the others.
    """
    if examples is not None and examples < 1:
        raise InputError(f"--examples {examples} must be at least 1; leave it out for each law's own number")
    if workers < 0:
        raise InputError(f"--workers {workers} must be 0 or more; 0 is this process")
    check_seed(seed)
    with silent(as_json):
        laws = laws_named(names)
        with progress(sum(1 + len(law.controls) for law in laws)) as tell:
            if workers:
                judged = _judged_by_workers(names, laws, examples, seed, workers, tell)
            else:
                engine = _engine()
                judged = {law.id: _judged_law(law, examples, seed, engine, tell) for law in laws}
    found = [one for law in laws for one in judged[law.id]]
    rows, worst = [row for row, _ in found], [where for _, where in found]
    if as_json:
        print_json(rows)
    else:
        _print_checks(laws, rows, worst)
    return 0 if all(_as_expected(row) for row in rows) else 1


def _engine() -> Any:
    from lab.sweeps.engine import Engine

    return Engine(known=sorted(Path("results").glob("*/*/rows")))


def _judged_law(
    law: Law, examples: int | None, seed: int, engine: Any, tell: Callable[[str], None] = lambda title: None
) -> list[tuple[dict[str, Any], str]]:
    found = []
    for control in (None, *law.controls):
        tell(_title(law, control))
        found.append(_judged(law, control, examples, seed, engine))
    return found


_OWN: dict[str, Any] = {}  # of a worker: its laws and its engine


def _judge_family(names: Sequence[str], ids: Sequence[str], examples: int | None, seed: int) -> Any:
    """In a worker: the rows of the laws of one measurement."""
    if not _OWN:
        _OWN.update(laws={law.id: law for law in laws_named(names)}, engine=_engine())
    with silent(True):
        return {name: _judged_law(_OWN["laws"][name], examples, seed, _OWN["engine"]) for name in ids}


def _judged_by_workers(
    names: Sequence[str], laws: Sequence[Law], examples: int | None, seed: int, workers: int,
    tell: Callable[[str], None],
) -> dict[str, list[tuple[dict[str, Any], str]]]:  # fmt: skip
    """Rows by law, judged in so many processes. A process that dies leaves the laws it had undecided."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    families: dict[str, list[Law]] = {}
    for law in laws:
        families.setdefault(law.plan.measurement.name, []).append(law)
    judged: dict[str, list[tuple[dict[str, Any], str]]] = {}
    context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        tasks = {pool.submit(_judge_family, names, [law.id for law in family], examples, seed): family
                 for family in sorted(families.values(), key=len, reverse=True)}  # fmt: skip
        for task in as_completed(tasks):
            family = tasks[task]
            try:
                judged |= task.result()
            except Exception as error:  # the process died: its laws are undecided, and the others go on
                judged |= {law.id: [_failed(law, control, error) for control in (None, *law.controls)]
                           for law in family}  # fmt: skip
            for law in family:
                for control in (None, *law.controls):
                    tell(_title(law, control))
    return judged


def check_seed(seed: int) -> None:
    """Refuse a seed that numpy's generators would refuse later, with a traceback."""
    if seed < 0:
        raise InputError(f"--seed {seed} must be 0 or more; choose any whole number from 0")


def _judged(law: Law, control: str | None, examples: int | None, seed: int, engine: Any) -> tuple[dict[str, Any], str]:
    """A row of ``check --json``, and the worst point in words."""
    from lab.judge import check

    start = time.perf_counter()
    expected = law.expected if control is None else "refuted"
    try:
        found = check(law if control is None else law.control(control), seed=seed, examples=examples, engine=engine)
    except Exception as error:  # one broken law must not hide the others: it is undecided, with its reason
        return _failed(law, control, error, time.perf_counter() - start)
    v = found.verdict
    row = {
        "verdict": v.verdict, "examples": len(found.groups), "judged": v.judged, "total": v.total, "margin": v.margin,
        "resolution": v.resolution, "tolerance_source": v.source, "reason": v.reason, "seconds": found.seconds,
        "undecided": sum(group.verdict.verdict == "undecided" for group in found.groups),
    }  # fmt: skip
    return _ordered(law, control, expected, row), _worst(found)


def _failed(law: Law, control: str | None, error: Exception, seconds: float = 0.0) -> tuple[dict[str, Any], str]:
    reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    row: dict[str, Any] = dict.fromkeys(("margin", "resolution"))
    row |= {"verdict": "undecided", "examples": 0, "judged": 0, "total": 0, "undecided": 0, "tolerance_source": "",
            "reason": " ".join(reason.split()), "seconds": seconds}  # fmt: skip
    return _ordered(law, control, law.expected if control is None else "refuted", row), ""


_KEYS = ("law", "control", "verdict", "expected", "examples", "judged", "total", "undecided", "margin", "resolution",
         "tolerance_source", "reason", "seconds")  # fmt: skip


def _ordered(law: Law, control: str | None, expected: str, row: dict[str, Any]) -> dict[str, Any]:
    row |= {"law": law.id, "control": control, "expected": expected}
    return {key: row[key] for key in _KEYS}


def _worst(found: Check) -> str:
    if not found.groups:
        return ""
    group = found.worst()
    index = "" if group.verdict.index in (None, 0) else f", element {group.verdict.index}"
    return f"at {point(group.at)}{index}"


def _as_expected(row: dict[str, Any]) -> bool:
    return bool(row["verdict"] == row["expected"])


def _title(law: Law, control: str | None) -> str:
    return law.id if control is None else f"{law.id}, control {control!r}"


def _print_checks(laws: Sequence[Law], rows: Sequence[dict[str, Any]], worst: Sequence[str]) -> None:
    out = console()
    numbers = ("judged", "margin", "resolution", "seconds")
    shown = table("", "law / control", "verdict", "expected", *numbers[:3], "tolerance", "seconds", right=numbers)
    for row in rows:
        good = _as_expected(row)
        shown.add_row(
            "" if good else "!", row["law"] if row["control"] is None else f"  {row['control']}", row["verdict"],
            row["expected"], f"{row['judged']}/{row['total']}", number(row["margin"], 3), number(row["resolution"], 2),
            row["tolerance_source"], f"{row['seconds']:.2f}", style=None if good else "bold red",
        )  # fmt: skip
    out.print(shown)
    unexpected = [(row, where) for row, where in zip(rows, worst, strict=True) if not _as_expected(row)]
    for row, where in unexpected:
        name = row["law"] if row["control"] is None else f"{row['law']}, control {row['control']!r}"
        out.print(f"\n! {name} is {row['verdict']}, expected {row['expected']}: {row['reason']} {where}".rstrip())
    if len(laws) == 1:
        for source, text in laws[0].claim.derivations().items():
            out.print(f"\ntolerance, {source}: {text or '(no derivation given)'}")
    controls = sum(row["control"] is not None for row in rows)
    verdict = f"{len(unexpected)} not as expected" if unexpected else "all as expected"
    out.print(f"\n{count(len(rows) - controls, 'law')}, {count(controls, 'control')}: {verdict}")


def refute_law(name: str, *, examples: int = 200) -> int:
    """Hunt for a counterexample to one law; 0 if none was found, 1 if one was."""
    if examples < 1:
        raise InputError(f"--examples {examples} must be at least 1; give e.g. --examples 200")
    laws = laws_named([name])
    if len(laws) != 1:
        raise InputError(f"{name} means {len(laws)} laws ({', '.join(law.id for law in laws)}); give the id of one law")
    from lab.refute import refute

    law = laws[0]
    with progress(1) as tell:
        tell(f"hunting a counterexample to {law.id} among {examples} points")
        found = refute(law, examples=examples)
    out = console()
    if found is None:
        out.print(f"{law.id}: no counterexample among {examples} points")
        return 0
    out.print(f"{law.id} is refuted after {found.tried} points\n", style="bold")
    out.print(f"  at      {point(found.p.values())}\n  because {found.check.worst().verdict.reason}", soft_wrap=True)
    out.print(f"  replay  python -c {shlex.quote(_replay(found, name))}", soft_wrap=True)
    return 1


def _replay(found: Counterexample, name: str) -> str:
    """Python that judges the counterexample again; a law of a file is loaded from it."""
    if not is_file(name):
        return found.replay
    values = ", ".join(f"{k}={v!r}" for k, v in found.p.values().items())
    load = f"next(law for law in r.laws_in(r.load_file({str(Path(name))!r})) if law.id == {found.law.id!r})"
    return f"import lab.registry as r; print({load}.check(dict({values}), seed={found.check.seed}))"
