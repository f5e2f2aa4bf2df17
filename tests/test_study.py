"""Studies: a user's own 40-line file, run, resumed, judged, drawn and reported as any other."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from lab import cli
from lab.errors import InputError
from lab.registry import studies, study

FILE = Path(__file__).parent / "studies" / "spiked.py"
SMALL = ["--set", "snr=0.3,1.0,2.0", "replicates=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("spiked")
    assert cli.main(["run", str(FILE), "--preset", "smoke", "--out", str(out / "a" / "smoke"), *SMALL]) == 0
    return out


def test_a_run_leaves_what_it_promises(folder):
    names = {p.name for p in (folder / "a" / "smoke").iterdir()}
    assert {"rows", "verdicts.json", "figure.png", "figure.svg", "provenance.json"} <= names
    verdicts = json.loads((folder / "a" / "smoke" / "verdicts.json").read_text())
    keys = {"law", "kind", "at", "quantity", "index", "predicted", "measured", "low", "high", "judged", "total",
            "resolution", "tolerance", "tolerance_source", "verdict", "expected", "reason"}  # fmt: skip
    assert all(set(v) == keys for v in verdicts)
    overall = [v for v in verdicts if v["at"] is None]
    assert [(v["law"], v["verdict"]) for v in overall] == [("pca/overlap", "holds")]
    assert len(verdicts) == 4
    about = json.loads((folder / "a" / "smoke" / "provenance.json").read_text())
    assert about["study"] == "pca/transition"
    assert about["set"]["replicates"] == "8"


def test_a_rerun_does_only_what_is_missing(folder):
    shards = {p: p.stat().st_mtime_ns for p in (folder / "a" / "smoke" / "rows").iterdir()}
    before = {p: pd.read_parquet(p) for p in shards}
    out = str(folder / "a" / "smoke")
    assert cli.main(["run", str(FILE), "--out", out, "--set", "snr=0.3,1.0,2.0,2.5", "replicates=8"]) == 0
    after = {p: p.stat().st_mtime_ns for p in (folder / "a" / "smoke" / "rows").iterdir()}
    assert {p: t for p, t in after.items() if p in shards} == shards
    new = pd.concat(pd.read_parquet(p) for p in after if p not in shards)
    assert set(new["snr"]) == {2.5}
    assert len(new) == 8
    assert sum(len(rows) for rows in before.values()) == 24


def test_the_report_shows_it(folder):
    assert cli.main(["report", str(folder)]) == 0
    page = (folder / "index.html").read_text()
    for words in ("pca/transition", "pca/overlap", "holds", "lab run", "data:image"):
        assert words in page


def test_a_study_runs_as_a_script(tmp_path):
    command = [sys.executable, str(FILE), "--out", str(tmp_path), "--json", *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[-1]["verdict"] == "holds"
    # rows of a script and of `lab run FILE` are the same rows
    again = study(str(FILE)).run("smoke", overrides={"snr": "0.3,1.0,2.0", "replicates": "8"}, out=tmp_path)
    assert len(list((tmp_path / "rows").iterdir())) == len({p.stem for p in (tmp_path / "rows").iterdir()})
    assert len(again.rows) == 24
    assert sum(len(pd.read_parquet(p)) for p in (tmp_path / "rows").iterdir()) == 24


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"srn": "1"}, "snr"),
        ({"snr": "9"}, "less than or equal to 3"),
        ({"snr": "nan"}, "snr"),
        ({"replicates": "0"}, "positive whole number"),
        ({"n": "40.5"}, "integer"),
    ],
)
def test_bad_axes_measure_and_write_nothing(overrides, words, tmp_path):
    with pytest.raises(InputError, match=words):
        study(str(FILE)).run("smoke", overrides=overrides, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_unknown_preset_offers_the_known(tmp_path):
    with pytest.raises(InputError, match="smoke"):
        study(str(FILE)).run("smok", out=tmp_path / "x")


@pytest.mark.parametrize("one", studies(), ids=lambda one: one.id)
def test_every_preset_lies_in_its_domain(one):
    assert "smoke" in one.presets
    for preset in one.presets:
        for law in one.laws:
            assert one.grid(law, preset).requests(law.params)
