"""`lab certify` and `lab.certify`: loaders, bad input in one sentence, exit status, JSON, figures, array libraries."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lab
from lab.cli import main
from lab.data.features import load_features
from lab.errors import InputError

SIZES = (8, 5, 7)
KEYS = {"file", "labels", "samples", "dim", "eps", "normalise", "alpha", "lam", "lam_matched", "tau", "status", "rates",
        "objective", "curvature", "nearest", "nearest_maximum", "eigenvalues", "effective_fractions", "overlap",
        "smallest_angle_degrees", "classes", "sentences"}  # fmt: skip


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], SIZES))
    return rng.standard_normal((20, 4)) + 2 * np.eye(4)[labels], labels


@pytest.fixture
def folder(tmp_path, monkeypatch, data):
    """A current folder with the same features in every format."""
    monkeypatch.chdir(tmp_path)
    Z, labels = data
    names = [f"z{i}" for i in range(4)]
    np.savez("f.npz", feats=Z, y=labels, other=Z[:, 0])
    np.savez("two.npz", feats=Z, more=Z, y=labels)
    np.save("f.npy", Z)
    np.save("y.npy", labels)
    frame = pd.DataFrame(Z, columns=names).assign(kind=[f"class {k}" for k in labels])
    frame.to_csv("f.csv", index=False)
    frame.to_csv("f.tsv.gz", index=False, sep="\t")
    frame.assign(id=[f"row{i}" for i in range(20)]).to_parquet("f.parquet")
    pd.DataFrame({"emb": list(Z), "y": labels, "weight": 1.0}).to_parquet("lists.parquet")
    return tmp_path


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} in JSON")

    return json.loads(text, parse_constant=refuse)


# ---------------------------------------------------------------------- loaders


@pytest.mark.parametrize("words", [
    ("f.npz", "y", "feats"), ("f.npz", "y", None), ("f.npz", "y.npy", None), ("two.npz", "y", "more"),
    ("f.npy", "y.npy", None), ("f.csv", "kind", None), ("f.csv", "kind", "z0,z1,z2,z3"), ("f.csv", "y.npy", "z*"),
    ("f.tsv.gz", "kind", None), ("f.parquet", "kind", "z*"), ("lists.parquet", "y", "emb"),
], ids=lambda words: " ".join(map(str, words)))  # fmt: skip
def test_all_formats_hold_the_same_features(folder, data, words):
    file, labels, features = words
    found = load_features(file, labels=labels, features=features)
    assert np.allclose(found.Z, data[0], rtol=1e-14)
    assert np.unique(found.labels, return_inverse=True)[1].tolist() == data[1].tolist()


BAD_FILES = {
    "no such file": (["g.npz", "--labels", "y"], "file 'g.npz' does not exist; nearest: "),
    "a folder": ([".", "--labels", "y"], ". is a folder"),
    "another format": (["f.txt", "--labels", "y"], "f.txt ends in .txt"),
    "unknown array": (["f.npz", "--labels", "yy"], "array of f.npz 'yy' does not exist; nearest: y"),
    "unknown features": (["f.npz", "--labels", "y", "--features", "feat"], "'feat' does not exist; nearest: feats"),
    "two candidates": (["two.npz", "--labels", "y"], "arrays feats, more have two axes; name the features"),
    "no candidate": (["one.npz", "--labels", "y"], "no array beside the labels has two axes"),
    "unknown column": (["f.csv", "--labels", "kinds"], "column of f.csv 'kinds' does not exist; nearest: kind"),
    "unknown pattern": (["f.csv", "--labels", "kind", "--features", "w*"], "column of f.csv 'w*' does not exist"),
    "columns of text": (["f.parquet", "--labels", "kind"], "column id do not hold numbers; choose the features"),
    "labels of an npy": (["f.npy", "--labels", "y"], "labels come from a file of their own: --labels FILE.npy"),
    "labels that are absent": (["f.npy", "--labels", "x.npy"], "file 'x.npy' does not exist"),
    "damaged npz": (["damaged.npz", "--labels", "y"], "damaged.npz cannot be read"),
    "damaged parquet": (["damaged.parquet", "--labels", "y"], "damaged.parquet cannot be read as parquet"),
    "objects": (["objects.npy", "--labels", "y.npy"], "it holds Python objects, or is cut off; save plain arrays"),
    "no labels": (["f.npz"], "--labels"),
    "figure of another kind": (["f.npz", "--labels", "y", "--figure", "a.gif"], "written as .png, .svg or .pdf"),
    "figure in no folder": (["f.npz", "--labels", "y", "--figure", "no/a.png"], "folder no does not exist"),
    "out is a file": (["f.npz", "--labels", "y", "--out", "f.csv"], "--out f.csv is a file; choose a folder"),
    "eps": (["f.npz", "--labels", "y", "--eps", "0"], "eps=0.0 must be a positive finite number"),
    "lam": (["f.npz", "--labels", "y", "--lam", "-1"], "lam=-1.0 must be a positive finite number"),
    "large eps": (["f.npz", "--labels", "y", "--eps", "1e5"], "eps=100000 is too large for features of root"),
    "tiny eps": (["f.npz", "--labels", "y", "--eps", "1e-8"], "eps=1e-08 is too small"),
    "way": (["f.npz", "--labels", "y", "--normalise", "rows"], "--normalise"),
    "one row too many": (["f.npy", "--labels", "long.npy"], "there are 21 labels but 20 rows of features"),
    "missing values": (["missing.csv", "--labels", "kind"], "1 NaN or infinite entries, the first in row 3, column 1"),
    "missing labels": (["unlabelled.csv", "--labels", "kind"], "2 labels are missing, the first in row 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_input_is_answered_in_one_sentence_and_nothing_is_written(folder, data, case, capsys):
    Z, labels = data
    Path("f.txt").write_text("1 2 3")
    np.savez("one.npz", y=labels)
    Path("damaged.npz").write_bytes(Path("f.npz").read_bytes()[:200])
    Path("damaged.parquet").write_bytes(b"PAR1 and no more")
    np.save("objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.save("long.npy", np.append(labels, 0))
    frame = pd.read_csv("f.csv")
    frame.assign(z1=np.where(np.arange(20) == 3, np.nan, Z[:, 1])).to_csv("missing.csv", index=False)
    frame.assign(kind=[None if i in (5, 9) else k for i, k in enumerate(frame["kind"])]).to_csv(
        "unlabelled.csv", index=False
    )
    words, part = BAD_FILES[case]
    before = set(Path().iterdir())
    assert main(["certify", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert part in err
    assert err.count("\n") == 1
    assert set(Path().iterdir()) == before


# ---------------------------------------------------------------------- arrays that make no sense

R = np.random.default_rng(1).standard_normal((12, 3))
L = np.repeat([0, 1], 6)
BAD_ARRAYS = {
    "a vector": (R[:, 0], L, {}, "a single feature is Z[:, None]"),
    "images": (R.reshape(12, 3, 1), L, {}, "flatten the other axes"),
    "texts": (R.astype(str), L, {}, "must be real numbers"),
    "complex": (R + 0j, L, {}, "must be real numbers"),
    "ragged": ([[1.0, 2.0], [3.0]], L, {}, "rows have different lengths"),
    "infinite": (np.where(np.arange(36).reshape(12, 3) == 14, np.inf, R), L, {}, "the first in row 4, column 2"),
    "constant": (np.ones((12, 3)), L, {}, "all 12 rows of the features are equal"),
    "columns as samples": (R.T, L, {}, "there are 12 labels but 3 rows of features"),
    "one class": (R, np.zeros(12, int), {}, "one class has rate reduction zero"),
    "ids": (R, np.arange(12), {}, "labels are all different"),
    "targets": (R, np.linspace(0, 1, 12).round(1), {}, "labels have fractions, e.g. 0.1"),
    "one-hot": (R, np.eye(2)[L], {}, "argmax one-hot rows first"),
    "zero row": (np.vstack([R[:11], np.zeros(3)]), L, {}, "1 rows are zero, the first is row 11"),
    "zero class": (R * (L == 0)[:, None], L, {"normalise": "class"}, "class 1 is zero"),
    "unknown way": (R, L, {"normalise": "rows"}, "normalise='rows'"),
    "equal classes": (np.vstack([R[:6], R[:6]]), L, {}, "does not grow with the scale"),
    "lam of NaN": (R, L, {"lam": float("nan")}, "lam=nan"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_make_no_sense_are_refused(case):
    Z, labels, options, part = BAD_ARRAYS[case]
    with pytest.raises(InputError) as refused:
        lab.certify(Z, labels, **options)
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_odd_but_meaningful_is_certified():
    few = lab.certify(R, np.r_[np.zeros(10, int), 1, 2])  # classes of one sample
    assert any("2 classes (1, 2) have one sample" in s for s in few.sentences)
    assert max(one.rank for one in few.classes[1:]) <= 1
    crowd = lab.certify(R, np.repeat(range(6), 2))  # more classes than dimensions
    assert np.isnan(crowd.maximum)
    assert 0 < crowd.reduction < crowd.ceiling == crowd.top
    assert any("cannot be orthogonal" in s for s in crowd.sentences)
    dead = lab.certify(R, L, lam=1e3)  # beyond every spinodal
    assert dead.entry.kind == dead.local_maximum.kind == "zero"
    assert dead.best == 0
    assert not np.isfinite(dead.fractions).any()
    spinodal = [s for s in dead.sentences if "is above its spinodal" in s]
    assert len(spinodal) == 2
    assert "dropping it raises F by" in spinodal[0]
    wide = lab.certify(np.random.default_rng(2).standard_normal((9, 30)), np.repeat(range(3), 3))
    assert sum(one.best_rank for one in wide.classes) == 9


# ---------------------------------------------------------------------- the function


def test_libraries_dtypes_and_orders_of_rows_agree(data):
    import jax.numpy as jnp
    import torch

    Z, labels = data
    base = lab.certify(Z, labels).to_json()
    order = np.random.default_rng(3).permutation(20)
    torch_Z = torch.tensor(Z, requires_grad=True)
    others = (
        (torch_Z, torch.tensor(labels)), (jnp.asarray(Z), jnp.asarray(labels)),
        (Z.tolist(), labels.astype(float).tolist()), (Z[order], labels[order]),
    )  # fmt: skip
    for arrays in others:
        found = lab.certify(*arrays).to_json()
        assert found["rates"]["reduction"] == pytest.approx(base["rates"]["reduction"], rel=1e-12)
        assert found["curvature"]["largest"] == pytest.approx(base["curvature"]["largest"], rel=1e-9)
        assert found["nearest"]["ranks"] == base["nearest"]["ranks"]
        assert found["nearest"]["value"] == pytest.approx(base["nearest"]["value"], rel=1e-9)
    assert lab.certify(Z, np.array(["b", "a", "c"])[labels]).features.names == ["a", "b", "c"]
    short = lab.certify(torch.tensor(Z, dtype=torch.bfloat16), labels)
    assert short.reduction == pytest.approx(base["rates"]["reduction"], rel=0.02)


def test_scale_conventions(data):
    Z, labels = data
    unit, classes, plain = (lab.certify(Z, labels, normalise=way) for way in ("unit", "class", "none"))
    assert np.allclose(np.linalg.norm(unit.features.Z, axis=1), 1)
    assert classes.features.energies == pytest.approx(SIZES)
    assert unit.features.energies == pytest.approx(SIZES)
    assert plain.features.energies.sum() == pytest.approx(np.sum(Z**2))
    assert lab.certify(Z, labels).features.normalise == "unit"
    assert lab.certify(Z, labels, lam=0.1).features.normalise == "none"
    scaled = lab.certify(10 * Z, labels, normalise="none", eps=5.0)
    assert scaled.reduction == pytest.approx(plain.reduction, rel=1e-12)  # rates know Z/eps only
    assert scaled.lam == pytest.approx(plain.lam / 100, rel=1e-9)


def test_the_global_maximum_is_called_so_and_needs_nothing():
    Z = np.kron(np.eye(4), np.ones((5, 1)))
    c = lab.certify(Z, np.repeat(list("wxyz"), 5))
    assert c.status == "global maximum"
    assert c.position == pytest.approx(1, abs=1e-9)
    assert "nothing is left to gain" in str(c)
    assert "Delta R is the largest possible" in str(c)
    assert c.entry.distance < 1e-12


# ---------------------------------------------------------------------- the command


def test_the_command_prints_tables_and_advice(folder, capsys):
    assert main(["certify", "f.csv", "--labels", "kind"]) == 0
    out = capsys.readouterr().out
    parts = ["f.csv: N = 20, d = 4, 3 classes, eps = 0.5, rows of norm one", "(matched to the features)", "class 0",
             "noise floor", "nearest maximum", "lambda_*", "Labels: Delta R =", "Maximum:", "Multiplier:",
             "Distortion:"]  # fmt: skip
    assert [part for part in parts if part not in out] == []


def test_json_is_strict_and_alone(folder, capsys):
    assert main(["certify", "f.npz", "--labels", "y", "--lam", "0.05", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert set(found) == KEYS
    assert (found["lam"], found["lam_matched"], found["normalise"]) == (0.05, False, "none")
    assert [one["name"] for one in found["classes"]] == ["0", "1", "2"]
    assert found["smallest_angle_degrees"][0][0] is None


def test_files_are_written_and_the_escape_direction_raises_f(folder, data, capsys):
    Z, labels = data
    assert main(["certify", "f.npy", "--labels", "y.npy", "--lam", "0.05", "--out", "there", "--figure", "x.svg"]) == 0
    assert "written: there/certificate.json" in capsys.readouterr().out
    assert {file.name for file in Path("there").iterdir()} == {"certificate.json", "escape.npz"}
    assert Path("x.svg").stat().st_size > 10_000
    found = strict(Path("there/certificate.json").read_text())
    escape = np.load("there/escape.npz")
    order = np.argsort(labels, kind="stable")

    def value(Z):
        from lab.objectives.coding_rate import regularised_rate_reduction

        return float(regularised_rate_reduction(Z[order], SIZES, eps=0.5, lam=0.05))

    gain = value(Z + escape["step"] * escape["direction"]) - value(Z)
    assert gain == pytest.approx(found["curvature"]["escape_gain"], abs=1e-10)
    assert gain > 0


def test_figures_of_many_and_of_collapsing_classes(folder):
    rng = np.random.default_rng(4)
    np.savez("many.npz", Z=rng.standard_normal((120, 6)), y=[f"a long class name {k}" for k in np.repeat(range(30), 4)])
    assert main(["certify", "many.npz", "--labels", "y", "--figure", "many.png"]) == 0
    assert main(["certify", "f.npz", "--labels", "y", "--lam", "2", "--figure", "dead.pdf"]) == 0
    assert Path("many.png").stat().st_size > 10_000
    assert Path("dead.pdf").stat().st_size > 5_000


# ---------------------------------------------------------------------- the perceptron of the demonstration


def test_perceptron_against_its_definition():
    import jax
    import jax.numpy as jnp

    from lab.models.mlp import mlp_apply, mlp_init

    layers = mlp_init(jax.random.key(0), (5, 400, 300, 2))
    X = np.random.default_rng(5).standard_normal((3, 7, 5))
    for name, function in (("relu", lambda h: np.maximum(h, 0)), ("tanh", np.tanh), ("linear", lambda h: h)):
        H = X
        for W, b in layers[:-1]:
            H = function(H @ np.asarray(W) + np.asarray(b))
        expected = H @ np.asarray(layers[-1][0]) + np.asarray(layers[-1][1])
        assert np.allclose(mlp_apply(layers, jnp.asarray(X), activation=name), expected, atol=1e-12)
    assert float(jnp.var(layers[1][0])) == pytest.approx(2 / 400, rel=0.02)
    assert float(jnp.var(layers[2][0])) == pytest.approx(1 / 300, rel=0.2)
    for widths in ((5,), (5, 0), (5, 2.5)):
        with pytest.raises(InputError, match="widths"):
            mlp_init(jax.random.key(0), widths)
    with pytest.raises(InputError, match="input dimension 5"):
        mlp_apply(layers, jnp.zeros((3, 4)))
    with pytest.raises(InputError, match="activation='cube'"):
        mlp_apply(layers, jnp.asarray(X), activation="cube")
