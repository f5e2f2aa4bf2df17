"""The command line: exit status, what goes to which stream, and bad input answered in one sentence."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lab
from lab.cli import _one_set_each, main
from lab.registry import laws

ROOT = Path(lab.__file__).resolve().parent.parent

TOY = '''
"""A toy system: sums, exact up to rounding."""
from functools import partial
from typing import Annotated

from lab import Draws, Equality, Ge, Grid, Law, Le, Params, Study, but, measurement


class Sum(Params):
    """Some equal numbers."""
    n: Annotated[int, Ge(1), Le(8)] = 3
    x: Annotated[float, Ge(0.5), Le(2.0)] = 1.0


def total(p):
    """The sum of n numbers x is n x."""
    return p.n * p.x


def rounding(p):
    """One half unit per addition."""
    return p.n * total(p)


@measurement
def added(p, stream, *, shift=0.0):
    print("noise of a measurement")
    return {"total": sum([p.x] * p.n) + shift}


LAW = Law(id="toy/total", source="folklore", params=Sum, predict=total, measure=added,
          claim=Equality(of="total", rounding=rounding),
          controls={"shifted": but(measure=partial(added, shift=0.1))}, examples=(Sum(),),
          draws=Draws(shapes=2, values=2))
STUDY = Study("toy/sums", laws=(LAW,), title="Sums.",
              presets={"smoke": Grid(x=[0.5, 1.0]), "default": Grid(x=[0.5, 1.0, 1.5])})


@STUDY.figure
def draw(ax, rows):
    ax.plot(rows["x"], rows["total"])


if __name__ == "__main__":
    STUDY.cli()
'''

PRINTED = 'WRONG = LAW.printed("toy/total-printed", at=(Sum(n=2),), predict=lambda p: p.x + p.n)\n'

CHECK_KEYS = {"law", "control", "verdict", "expected", "examples", "judged", "total", "undecided", "margin",
              "resolution", "tolerance_source", "reason", "seconds"}  # fmt: skip
VERDICT_KEYS = {"law", "kind", "at", "quantity", "index", "predicted", "measured", "low", "high", "judged", "total",
                "resolution", "tolerance", "tolerance_source", "verdict", "expected", "reason"}  # fmt: skip


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An empty current folder beside a file with the toy law and study."""
    (tmp_path / "toy_sums.py").write_text(TOY)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return "../toy_sums.py"


def strict(text):
    """Parse JSON that must not contain NaN or Infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} in JSON")

    return json.loads(text, parse_constant=refuse)


def command(*words, cwd, start=("-m", "lab.cli")):
    """A Python process of its own, as a user starts it."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *start, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )


# ---------------------------------------------------------------------- list, show, doctor


def test_list_prints_the_fixed_schema(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["list", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert set(found) == {"laws", "studies"}
    assert [row["id"] for row in found["laws"]] == [law.id for law in laws()]
    assert all(set(row) == {"id", "system", "kind", "source", "erratum", "controls"} for row in found["laws"])
    assert all(set(row) == {"id", "laws", "presets"} for row in found["studies"])


def test_list_is_light(tmp_path):
    heavy = ["jax", "torch", "pandas", "matplotlib", "scipy.stats", "hypothesis", "pyarrow"]
    code = f"import sys; from lab.cli import main; main(['list']); print([m for m in {heavy} if m in sys.modules])"
    done = command(cwd=tmp_path, start=["-c", code])
    assert done.stdout.splitlines()[-1] == "[]", done


def test_list_shows_a_folder_s_own_studies_and_survives_a_broken_file(toy, capsys):
    Path("experiments").mkdir()
    Path("experiments/toy_sums.py").write_text(TOY)
    Path("experiments/broken.py").write_text("import no_such_module\n")
    assert main(["list", "toy", "--json"]) == 0
    out, err = capsys.readouterr()
    study = {"id": "toy/sums", "laws": ["toy/total"], "presets": ["smoke", "default"]}
    assert strict(out) == {"laws": [], "studies": [study]}
    assert "broken.py, line 1: ModuleNotFoundError" in err


def test_show_a_law_and_a_study(toy, capsys):
    assert main(["show", toy]) == 0
    out = capsys.readouterr().out
    parts = ["toy/sums", "The sum of n numbers x is n x.", "[0.5, 2]", "A toy system", "n=3, x=1", "toy_sums.py:",
             "shifted: measure=added(shift=0.1)", "rounding: One half unit per addition.",
             "lab check ../toy_sums.py"]  # fmt: skip
    assert [part for part in parts if part not in out] == []


def test_show_names_every_registered_law(capsys):
    for law in laws():
        assert main(["show", law.id]) == 0
        out = capsys.readouterr().out
        assert law.id in out
        assert f"systems/{law.system}" in out


def test_doctor_survives_a_missing_and_a_broken_package(toy, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jax", None)  # `import jax` now fails
    monkeypatch.setattr("lab.commands.doctor._OPTIONAL", {"no-such-package": "nothing"})
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "unknown (ModuleNotFoundError" in out
    assert "pip install no-such-package" in out
    assert not list(Path().iterdir())


# ---------------------------------------------------------------------- check, refute


def test_check_judges_law_control_and_printed_form(toy, capsys):
    Path("../toy_sums.py").write_text(TOY + PRINTED)
    assert main(["check", toy, "--json"]) == 0
    out, err = capsys.readouterr()
    rows = strict(out)
    assert [(r["law"], r["control"], r["verdict"], r["expected"]) for r in rows] == [
        ("toy/total", None, "holds", "holds"),
        ("toy/total", "shifted", "refuted", "refuted"),
        ("toy/total-printed", None, "refuted", "refuted"),
    ]
    assert all(set(row) == CHECK_KEYS for row in rows)
    assert (rows[0]["examples"], rows[0]["tolerance_source"], rows[0]["undecided"]) == (5, "rounding", 0)
    assert "toy/total, control 'shifted'" in err


def test_check_in_processes_of_its_own_says_the_same(capsys):
    names = ["memorization/two-points", "tost/descent-edge"]
    found = []
    for workers in ("0", "2"):
        assert main(["check", *names, "--json", "--workers", workers]) == 0
        found.append([{k: v for k, v in row.items() if k != "seconds"} for row in strict(capsys.readouterr().out)])
    assert found[0] == found[1]
    assert main(["check", names[0], "--workers", "-1"]) == 2
    assert "--workers -1 must be 0 or more" in capsys.readouterr().err


def test_a_process_that_dies_leaves_its_laws_undecided(toy, capsys):
    Path("../toy_sums.py").write_text(TOY.replace('    print("noise of a measurement")', "    import os; os._exit(3)"))
    assert main(["check", toy, "--json", "--workers", "1"]) == 1
    rows = strict(capsys.readouterr().out)
    assert [(row["verdict"], "terminated abruptly" in row["reason"]) for row in rows] == [("undecided", True)] * 2


def test_check_prints_a_table_and_where_tolerances_come_from(toy, capsys):
    assert main(["check", toy, "--examples", "2", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "1 law, 1 control: all as expected" in out
    assert "tolerance, rounding: One half unit per addition." in out


def test_check_of_an_unexpected_verdict_says_why_and_where(toy, capsys):
    Path("../toy_sums.py").write_text(TOY.replace("return p.n * p.x", "return p.n * p.x + (p.n == 3)"))
    assert main(["check", toy]) == 1
    out = capsys.readouterr().out
    assert "! toy/total is refuted, expected holds" in out
    assert "at n=3, x=1" in out


def test_a_law_that_raises_does_not_hide_the_others(toy, capsys):
    broken = 'BAD = replace(LAW, id="toy/bad", claim=Equality(of="totl"))\n'
    Path("../toy_sums.py").write_text(TOY + "from dataclasses import replace\n" + broken)
    assert main(["check", toy, "--json"]) == 1
    rows = {(r["law"], r["control"]): r for r in strict(capsys.readouterr().out)}
    assert rows["toy/total", None]["verdict"] == "holds"
    assert rows["toy/bad", None]["verdict"] == "undecided"
    assert "nearest: total" in rows["toy/bad", None]["reason"]


def test_refute_finds_a_counterexample_that_replays(toy, capsys):
    Path("../toy_sums.py").write_text(TOY.replace("return p.n * p.x", "return p.n * p.x + (p.x > 1.5)"))
    assert main(["refute", toy, "--examples", "60"]) == 1
    out = capsys.readouterr().out
    assert "toy/total is refuted after" in out
    replay = shlex.split(next(line for line in out.splitlines() if "replay" in line))
    done = command(cwd=Path.cwd(), start=["-c", replay[-1]])
    assert "toy/total: refuted" in done.stdout, done


def test_refute_of_a_true_law_finds_nothing(toy, capsys):
    assert main(["refute", toy, "--examples", "20"]) == 0
    assert "no counterexample among 20 points" in capsys.readouterr().out


# ---------------------------------------------------------------------- run


def test_run_leaves_its_files_and_prints_json_alone(toy, capsys):
    assert main(["run", toy, "--preset", "smoke", "--json"]) == 0
    rows = strict(capsys.readouterr().out)
    assert all(set(row) == VERDICT_KEYS for row in rows)
    assert [row["at"] for row in rows] == [{"n": 3, "x": 0.5}, {"n": 3, "x": 1.0}, None]
    folder = Path("results/toy_sums/smoke")
    left = {"rows", "verdicts.json", "figure.png", "figure.svg", "provenance.json"}
    assert {file.name for file in folder.iterdir()} == left
    assert strict((folder / "verdicts.json").read_text()) == rows


def test_run_without_a_preset_runs_the_default_one(toy, capsys):
    assert main(["run", toy, "--set", "x=0.5,2", "n=2", "--set", "replicates=2", "--out", "there"]) == 0
    rows = strict(Path("there/verdicts.json").read_text())
    assert [row["at"] for row in rows] == [{"n": 2, "x": 0.5}, {"n": 2, "x": 2.0}, None]
    about = strict(Path("there/provenance.json").read_text())
    assert (about["preset"], about["set"]) == ("default", {"x": "0.5,2", "n": "2", "replicates": "2"})
    out = capsys.readouterr().out
    assert "2 holds" in out
    assert "there: rows/, verdicts.json" in out


def test_run_of_a_refuted_law_exits_with_1(toy, capsys):
    Path("../toy_sums.py").write_text(TOY.replace("return p.n * p.x", "return p.n * p.x + (p.x > 0.9)"))
    assert main(["run", toy, "--preset", "smoke"]) == 1
    assert "! toy/total is refuted, expected holds: 1 of 2 groups" in capsys.readouterr().out


def test_an_interrupted_run_says_how_to_resume_and_resumes(toy, capsys):
    body = """from pathlib import Path
    if p.x == 1.0 and Path("stop").exists():
        raise KeyboardInterrupt
    with open("measured", "a") as log:
        print(p.x, file=log)"""
    Path("../toy_sums.py").write_text(TOY.replace('print("noise of a measurement")', body))
    Path("stop").touch()
    assert main(["run", toy, "--preset", "smoke"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "repeat the same command to continue" in err.splitlines()[-1]
    Path("stop").unlink()
    assert main(["run", toy, "--preset", "smoke"]) == 0
    assert Path("measured").read_text() == "0.5\n1.0\n"  # nothing twice


def test_a_study_file_is_a_command_of_its_own(toy):
    done = command("--preset", "smoke", "--json", cwd=Path.cwd(), start=[toy])
    assert done.returncode == 0, done
    assert strict(done.stdout)[-1]["verdict"] == "holds"
    bad = command("--preset", "smok", cwd=Path.cwd(), start=[toy])
    assert (bad.returncode, bad.stderr) == (2, "preset of toy/sums 'smok' does not exist; nearest: smoke\n")


def test_several_settings_after_one_option():
    words = ["run", "--set", "a=1", "b=2", "name", "--set", "c=3", "--set", "d=-1", "e=4", "--json"]
    spread = ["run", "--set", "a=1", "--set", "b=2", "name", "--set", "c=3", "--set", "d=-1", "--set", "e=4", "--json"]
    assert _one_set_each(words) == spread


# ---------------------------------------------------------------------- bad input

BAD = {
    "unknown command": (["rune"], "command 'rune' does not exist; nearest: run"),
    "unknown system": (["list", "mcr3"], "nearest: mcr2"),
    "unknown law": (["show", "mcr2/spinodl"], "mcr2/spinodal"),
    "unknown law to check": (["check", "mcr2/spinodl"], "mcr2/spinodal"),
    "unknown law to refute": (["refute", "mcr2/spinodl"], "mcr2/spinodal"),
    "unknown study": (["run", "toy/nothing"], "study 'toy/nothing' does not exist"),
    "unknown file": (["run", "toy_sum.py"], "does not exist"),
    "unknown preset": (["run", "TOY", "--preset", "smok"], "nearest: smoke"),
    "unknown parameter": (["run", "TOY", "--set", "y=1"], "'y' does not exist; known: n, x"),
    "outside the domain": (["run", "TOY", "--set", "x=3"], "x=3: input should be less than or equal to 2; choose x in"),
    "NaN": (["run", "TOY", "--set", "x=nan"], "x='nan' is not a number"),
    "JSON's NaN": (["run", "TOY", "--set", "x=NaN"], "finite number"),
    "infinity": (["run", "TOY", "--set", "x=Infinity"], "finite number"),
    "text for a number": (["run", "TOY", "--set", "x=half"], "x='half' is not a number"),
    "fraction for a count": (["run", "TOY", "--set", "n=2.5"], "n=2.5"),
    "no value": (["run", "TOY", "--set", "x="], "x= has no value"),
    "no sign": (["run", "TOY", "--set", "x"], "not of the form name=value"),
    "twice": (["run", "TOY", "--set", "x=1", "--set", "x=2"], "given twice"),
    "no replicates": (["run", "TOY", "--set", "replicates=0"], "replicates='0'"),
    "negative seed": (["run", "TOY", "--seed", "-1"], "--seed -1"),
    "negative seed of a check": (["check", "TOY", "--seed", "-1"], "--seed -1"),
    "no examples": (["check", "TOY", "--examples", "0"], "--examples 0"),
    "no examples to refute": (["refute", "TOY", "--examples", "0"], "--examples 0"),
    "negative workers": (["run", "TOY", "--workers", "-2"], "workers=-2"),
    "folder below a file": (["run", "TOY", "--out", "../toy_sums.py/results"], "is a file; choose another folder"),
    "nothing to report": (["report", "nowhere"], "nowhere holds no results"),
    "bad name": (["new", "law", "My Law"], "'My Law'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_answered_in_one_sentence(case, toy, capsys):
    words, part = BAD[case]
    assert main([toy if word == "TOY" else word for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert part in err
    assert not list(Path().iterdir()), "something was written"


NO_OPTIONS = [["check", "--seed", "half"], ["run", "TOY", "--device", "tpu"], ["run"], ["list", "--jsn"]]


@pytest.mark.parametrize("words", NO_OPTIONS)
def test_words_that_are_no_options_exit_with_2(words, toy, capsys):
    assert main([toy if word == "TOY" else word for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("x = (", "line 1: syntax error"),
        ("import numpy as np\nnp.zeros(-1)", "line 2: ValueError: negative dimensions"),
        ("x = 1", "defines 0 studies"),
    ],
)
def test_a_broken_file_is_answered_in_one_sentence(code, part, toy, capsys):
    Path("../toy_sums.py").write_text(code)
    assert main(["run", toy]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert part in err


def test_a_process_exits_without_a_traceback(toy):
    done = command("run", toy, "--set", "x=5", cwd=Path.cwd())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_output_may_be_cut_off(toy):
    done = subprocess.run(f"'{sys.executable}' -m lab.cli doctor | true", shell=True, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120, check=False)  # fmt: skip
    assert "Traceback" not in done.stderr
