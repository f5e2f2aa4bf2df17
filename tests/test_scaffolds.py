"""`lab new`: what it writes runs as it is, and it never overwrites."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cli import main
from lab.registry import load_file


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "id"),
    [("my_law", "my_law.py", "user/my-law"), ("pca/over-lap", "pca_over_lap.py", "pca/over-lap")],
)
def test_a_new_law_holds_and_its_control_is_refuted(name, file, id, capsys):
    assert main(["new", "law", name]) == 0
    assert f"lab check {file}" in capsys.readouterr().out
    assert [path.name for path in Path().iterdir()] == [file]
    assert main(["check", file, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["law"], row["verdict"], row["undecided"]) for row in rows] == [(id, "holds", 0), (id, "refuted", 0)]


def test_a_new_study_runs(capsys):
    assert main(["new", "study", "nets/signal_length"]) == 0
    assert main(["run", "nets_signal_length.py", "--preset", "smoke", "--set", "depth=1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert rows[-1]["verdict"] == "holds"
    folder = Path("results/nets_signal_length/smoke")
    assert (folder / "figure.svg").stat().st_size > 10_000
    assert not [row for row in rows if row["verdict"] == "refuted"]


def test_a_new_study_has_a_default_preset_and_checks(capsys):
    main(["new", "study", "signal_length"])
    study = load_file("signal_length.py").STUDY
    assert set(study.presets) == {"smoke", "default"}
    assert main(["check", "signal_length.py", "--examples", "1"]) == 0
    assert "1 law, 1 control: all as expected" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["law", "study"])
def test_scaffolds_are_formatted_as_the_project_is(kind):
    main(["new", kind, "my_first"])
    rules = ["--isolated", "--line-length", "120", "my_first.py"]
    for words in (["check", "--select", "E,F,W,UP,B"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, *rules], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_is_never_overwritten(capsys):
    Path("my_law.py").write_text("mine")
    assert main(["new", "law", "my_law"]) == 2
    assert Path("my_law.py").read_text() == "mine"
    assert "my_law.py exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("../law", "is not made of lower-case words"),
        ("a/b/c", "is not made of lower-case words"),
        ("Law", "is not made of lower-case words"),
        ("2nd", "is not made of lower-case words"),
        ("my law", "is not made of lower-case words"),
        ("", "is not made of lower-case words"),
        ("random", "would hide the Python module 'random'"),
        ("numpy", "would hide the Python module 'numpy'"),
        ("class", "is a word of Python"),
    ],
)
def test_names_that_cannot_be_used(name, part, capsys):
    assert main(["new", "study", name]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert part in err
    assert not list(Path().iterdir())
