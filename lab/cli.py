"""The command line: ``lab list | show | check | refute | run | certify | certify-game | report | new | doctor``.

This file parses and dispatches; the work is done in `lab.commands` and `lab.report`, imported when a command needs
them. Standard output carries results alone (with ``--json``, JSON alone), progress and errors go to standard error.
Exit status: 0 as expected, 1 otherwise, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, UseAppendAction, arg

from lab.errors import InputError, nearest

if TYPE_CHECKING:
    from lab.study import Study

__all__ = ["COMMANDS", "main", "run", "run_study"]


@dataclass(frozen=True, kw_only=True)
class List:
    """List laws (id, kind, source) and studies (id, laws, presets)."""

    system: Annotated[Positional[str | None], arg(metavar="[SYSTEM]", help="Only this system.")] = None
    json: Annotated[bool, arg(help="Print JSON.")] = False

    def run(self) -> int:
        from lab.commands.catalogue import list_everything

        return list_everything(self.system, as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show one law or study: statement, domain, conventions, source, files, how to run."""

    id: Annotated[Positional[str], arg(metavar="ID", help="Id of a law or study, as in `lab list`.")]

    def run(self) -> int:
        from lab.commands.show import show

        return show(self.id)


@dataclass(frozen=True, kw_only=True)
class Check:
    """Judge laws over their domains, and their controls, which must be refuted."""

    ids: Annotated[
        Positional[tuple[str, ...]], arg(metavar="[ID|SYSTEM|FILE ...]", help="Laws, systems or files; default all.")
    ] = ()
    examples: Annotated[int | None, arg(metavar="N", help="Points to draw per law; default as each law says.")] = None
    seed: Annotated[int, arg(metavar="S", help="Root seed of all draws.")] = 0
    workers: Annotated[int, arg(metavar="N", help="Processes to judge in; 0 is this process.")] = 0
    json: Annotated[bool, arg(help="Print JSON, one row per law and per control.")] = False

    def run(self) -> int:
        from lab.commands.verdicts import check_laws

        return check_laws(
            self.ids, examples=self.examples, seed=self.seed, workers=self.workers, as_json=self.json
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Refute:
    """Hunt for a counterexample to a law, and shrink it."""

    id: Annotated[Positional[str], arg(metavar="ID", help="Id of a law, or a file that defines one law.")]
    examples: Annotated[int, arg(metavar="N", help="Points to try.")] = 200

    def run(self) -> int:
        from lab.commands.verdicts import refute_law

        return refute_law(self.id, examples=self.examples)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Sweep the laws of a study over its grid, judge them and draw the figure."""

    preset: Annotated[
        str | None, arg(metavar="P", help="Size of the grid: smoke, default, paper, ...; by default `default`.")
    ] = None
    set: Annotated[
        UseAppendAction[tuple[str, ...]],
        arg(metavar="NAME=VALUE", help="Replace a grid axis: x=0.5, x=0.1,0.2, x=0.1:0.9:5; replicates=8."),
    ] = ()
    seed: Annotated[int, arg(metavar="S", help="Root seed of all draws.")] = 0
    device: Annotated[Literal["cpu", "gpu"], arg(help="Where JAX and torch measurements run.")] = "cpu"
    workers: Annotated[int, arg(metavar="N", help="Processes of a local dask cluster; 0 is this process.")] = 0
    cluster: Annotated[
        str | None, arg(metavar="A", help="Address or scheduler file of a running dask cluster.")
    ] = None  # fmt: skip
    out: Annotated[
        str | None, arg(metavar="DIR", help="Folder of the results; by default results/<study>/<preset>.")
    ] = None
    json: Annotated[bool, arg(help="Print the rows of verdicts.json.")] = False


@dataclass(frozen=True, kw_only=True)
class Run(RunOptions):
    """Run a study: sweep its laws over a grid, judge them and draw the figure. A rerun does only what is missing."""

    study: Annotated[Positional[str], arg(metavar="STUDY", help="Id of a study, or the file that defines it.")]

    def run(self) -> int:
        from lab.commands.names import study_named
        from lab.commands.output import silent
        from lab.commands.studies import run_one

        with silent(self.json):
            study = study_named(self.study)
        return run_one(study, self)


@dataclass(frozen=True, kw_only=True)
class Certify:
    """Certify features: rate reduction between floor and exact maximum, nearest critical point, curvature, advice."""

    file: Annotated[Positional[str], arg(metavar="FILE", help="Features, samples in rows: .npz, .npy, .csv, .parquet.")]
    labels: Annotated[
        str, arg(metavar="NAME", help="Array of the npz or column of the table with the classes, or an .npy file.")
    ]
    features: Annotated[
        str | None,
        arg(metavar="NAME", help="Array of the npz; columns such as a,b or 'z*'. By default all that are not labels."),
    ] = None
    eps: Annotated[float, arg(metavar="E", help="Distortion (not squared), in units of the normalised features.")] = 0.5
    lam: Annotated[
        float | None,
        arg(metavar="L", help="F = Delta R - (lam/2) |Z|^2; by default the one that matches the features best."),
    ] = None
    normalise: Annotated[
        Literal["unit", "class", "none"] | None,
        arg(help="Rows of norm one, classes of energy N_k, or as they are; by default none with --lam, else unit."),
    ] = None
    figure: Annotated[str | None, arg(metavar="FILE", help="Draw the certificate: .png, .svg or .pdf.")] = None
    out: Annotated[
        str | None, arg(metavar="DIR", help="Write certificate.json, figure.png and the escape direction, escape.npz.")
    ] = None  # fmt: skip
    json: Annotated[bool, arg(help="Print JSON.")] = False

    def run(self) -> int:
        from lab.commands.certify import certify_file

        return certify_file(self)


@dataclass(frozen=True, kw_only=True)
class CertifyGame:
    """Certify the players of a game: how far an encoder and a decoder, or policies, are from an equilibrium."""

    file: Annotated[
        Positional[str],
        arg(metavar="FILE", help="npz with F, G, X, labels; or with transitions, rewards, discount, policy."),
    ]
    eps: Annotated[float | None, arg(metavar="E", help="Distortion (not squared) of an encoder's game.")] = None
    ranks: Annotated[
        tuple[int, ...] | None, arg(metavar="D ...", help="Dimensions of the subspaces; by default the samples'.")
    ] = None
    out: Annotated[str | None, arg(metavar="FILE", help="Write the certificate to this .json file.")] = None
    json: Annotated[bool, arg(help="Print JSON.")] = False

    def run(self) -> int:
        from lab.commands.certify_game import certify_game_file

        return certify_game_file(self)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Gather all results of a folder in one self-contained page, DIR/index.html."""

    dir: Annotated[Positional[str], arg(metavar="[DIR]", help="Folder of results.")] = "results"

    def run(self) -> int:
        from lab.report import report

        print(report(self.dir))
        return 0


@dataclass(frozen=True, kw_only=True)
class New:
    """Write a law or study that runs as it is, for you to change, into the current folder."""

    kind: Annotated[Positional[Literal["law", "study"]], arg(help="What to write.")]
    name: Annotated[Positional[str], arg(metavar="NAME", help="Such as my_law or pca/overlap.")]

    def run(self) -> int:
        from lab.commands.scaffold import new

        return new(self.kind, self.name)


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say what this machine offers: versions, devices, precision, memory, and what is missing."""

    def run(self) -> int:
        from lab.commands.doctor import doctor

        return doctor()


COMMANDS: dict[str, Any] = {
    "list": List, "show": Show, "check": Check, "refute": Refute, "run": Run, "certify": Certify,
    "certify-game": CertifyGame, "report": Report, "new": New, "doctor": Doctor,
}  # fmt: skip

_INTERRUPTED = {
    "check": "interrupted; a check stores nothing: repeat it, or check fewer laws by giving their ids",
    "run": "interrupted; finished rows are kept: repeat the same command to continue where it stopped",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Words after ``lab``; default those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return _guarded(lambda: _parsed(words).run(), next(iter(words), ""))


def run() -> None:
    """Entry point of the console script ``lab``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a formula must not stop a terminal that has only ASCII
    raise SystemExit(main())


def run_study(study: Study, argv: Sequence[str] | None = None) -> int:
    """Run a study with the options of ``lab run``; what `Study.cli` calls."""
    words = list(sys.argv[1:] if argv is None else argv)

    def command() -> int:
        from lab.commands.studies import run_one

        prog = os.path.basename(sys.argv[0]) or study.id
        options = _in_one_sentence(prog, lambda: tyro.cli(
            RunOptions, args=_one_set_each(words), prog=prog, description=study.title or None,
            config=(tyro.conf.FlagCreatePairsOff,),
        ))  # fmt: skip
        return run_one(study, options)

    return _guarded(command, "run")


def _parsed(words: list[str]) -> Any:
    words = words or ["--help"]
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        raise nearest("command", words[0], COMMANDS)
    # Options are parsed into objects and run afterwards: the parser would take a ValueError of ours for one of its own.
    return _in_one_sentence(f"lab {words[0]}", lambda: tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="lab", description="Laws of deep-learning theory: checked, refuted or left undecided.",
        args=_one_set_each(words),
        config=(tyro.conf.FlagCreatePairsOff,),
    ))  # fmt: skip


def _in_one_sentence(command: str, parse: Callable[[], Any]) -> Any:
    """What `parse` returns; the parser's complaint, a box of many lines, becomes the usual sentence."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse()
    except SystemExit as stop:
        if not stop.code:
            raise
        lines = [line.strip("│ ") for line in said.getvalue().splitlines() if line[:1] not in "╭╰"]
        complaint = " ".join(itertools.takewhile(lambda line: line.strip("─"), lines))
        raise InputError(f"{complaint or 'these words are not understood'}; `{command} --help` says what is") from None


def _one_set_each(words: list[str]) -> list[str]:
    """``--set a=1 b=2`` as ``--set a=1 --set b=2``, so that a study's name may follow."""
    found: list[str] = []
    inside = False
    for word in words:
        follows = inside and found[-1] != "--set"
        if follows and "=" in word and not word.startswith("-"):
            found.append("--set")
        elif follows:
            inside = False
        inside = inside or word == "--set"
        found.append(word)
    return found


def _guarded(command: Any, name: str) -> int:
    """Exit status of a command; what the user can mend is said in one sentence."""
    try:
        return int(command())
    except InputError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(_INTERRUPTED.get(name, "interrupted; repeat the command"), file=sys.stderr)
        return 130
    except BrokenPipeError:  # `lab list | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:  # of the parser: help was asked for, or words that are no options
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2


if __name__ == "__main__":
    run()
