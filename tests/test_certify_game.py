"""`lab certify-game` and `ctrl.certify`: the parts of a gap add up, the right defect is named, bad input is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from lab.cli import main
from lab.data.game_subspaces import correlated_bases, sample
from lab.data.markov_games import MarkovGame
from lab.errors import InputError
from lab.models import closed_loops, linear_games
from lab.systems import ctrl, potential_games
from lab.systems.ctrl.dynamics import encoder
from lab.systems.ctrl.theory import equilibrium

SIZES, RANKS, EPS = (20, 30), (2, 2), 0.7
D_X, D_Z = 6, 5
KEYS = {"samples", "d_x", "d_z", "eps", "reduction", "value", "attained", "leader_gap", "defects", "main_defect",
        "follower_gap", "equilibrium", "nearest", "allocation", "classes", "sentences"}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = sample(rng, correlated_bases(rng, d_x=D_X, ds=RANKS, alpha=0.4), SIZES).Z
    return X, np.repeat([0, 1], SIZES)


@pytest.fixture(scope="module")
def players(data):
    """An equilibrium: encoder and canonical decoder."""
    moments, fractions = closed_loops.class_moments(data[0], SIZES)
    beta = D_Z / EPS**2
    best = equilibrium(SIZES, RANKS, D_Z, eps=EPS)
    Y = np.zeros((2, 2, D_Z))
    for j in range(2):
        k = best.ranks[j]
        Y[j, np.arange(k), 2 * j + np.arange(k)] = np.sqrt(beta * fractions[j] / k)
    F = encoder(Y, moments, fractions, beta)
    return F, closed_loops.canonical_decoder(F, closed_loops.pooled(moments, fractions))


def half_trained(data, *, inner, steps):
    rng = np.random.default_rng(1)
    moments, fractions = closed_loops.class_moments(data[0], SIZES)
    start = rng.standard_normal((D_Z, D_X)) / D_X**0.5, rng.standard_normal((D_X, D_Z)) / D_Z**0.5
    path = linear_games.play(*start, moments, fractions, D_Z / EPS**2, inner=inner, steps=steps, records=1)
    return path.encoders[-1], path.decoders[-1]


def test_an_equilibrium_is_called_one(data, players):
    found = ctrl.certify(*players, *data, eps=EPS)
    assert found.is_equilibrium
    assert found.main_defect == "none"
    assert abs(found.leader_gap) < 1e-9
    assert found.follower_gap < 1e-12
    assert max(one.data for one in found.classes) < 1e-9
    assert found.distance < 1e-6
    assert found.nearest == pytest.approx(found.value, abs=1e-12)
    assert "An equilibrium" in str(found)


def test_the_parts_of_the_gap_add_up(data):
    rng = np.random.default_rng(2)
    for _ in range(20):
        F, G = rng.standard_normal((D_Z, D_X)), rng.standard_normal((D_X, D_Z))
        found = ctrl.certify(F, G, *data, eps=EPS)
        Z = data[0] @ F.T
        whole, one, other = (
            0.5 * np.linalg.slogdet(np.eye(D_Z) + D_Z / (len(z) * EPS**2) * z.T @ z)[1] for z in (Z, Z[:20], Z[20:])
        )
        assert found.reduction == pytest.approx(whole - 0.4 * one - 0.6 * other, abs=1e-10)
        parts = found.orthogonality + found.isotropy + found.energy
        assert found.leader_gap == pytest.approx(parts, abs=1e-10)
        assert found.orthogonality > 0


def rotated(players, angle):
    """Features of the second class turned towards those of the first."""
    F, G = players
    turn = np.eye(D_Z)
    turn[0, 2] = np.sin(angle)
    turn[2, 2] = np.cos(angle)
    return turn @ F, G @ np.linalg.inv(turn)


DEFECTS = {
    "orthogonality": lambda F, G: rotated((F, G), 0.6),
    "isotropy": lambda F, G: (np.diag([1.3, 0.6, 1, 1, 1]) @ F, G @ np.diag([1 / 1.3, 1 / 0.6, 1, 1, 1])),
    "energy": lambda F, G: (0.5 * F, 2 * G),
    "follower": lambda F, G: (F, 0.7 * G),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_named(data, players, name):
    found = ctrl.certify(*DEFECTS[name](*players), *data, eps=EPS)
    assert found.main_defect == name
    others = [size for other, size in found.defects.items() if other != name]
    assert max(others) < found.defects[name] / 3
    assert not found.is_equilibrium


def test_half_trained_games_have_the_right_defect(data):
    slow = ctrl.certify(*half_trained(data, inner=1, steps=60), *data, eps=EPS)
    assert slow.main_defect == "follower"
    fast = ctrl.certify(*half_trained(data, inner=10, steps=60), *data, eps=EPS)
    assert fast.main_defect in ("orthogonality", "isotropy")
    assert fast.follower_gap < 0.05 * slow.follower_gap


def test_beyond_the_domain(data, players):
    X, y = data
    F, G = players
    large = ctrl.certify(2 * F, G / 2, X, y, eps=EPS)
    assert large.energy < 0
    assert any("are not allowed" in s for s in large.sentences)
    nested = np.random.default_rng(3).standard_normal((50, 2)) @ np.eye(2, D_X)
    same = ctrl.certify(F + 0.1, G, nested, y, eps=EPS)
    assert not same.attained
    assert any("no direct sum" in s for s in same.sentences)
    random = np.random.default_rng(7).standard_normal((2, D_X))
    narrow = ctrl.certify(random, random.T, X, y, eps=0.1)
    assert not narrow.attained
    assert narrow.allocation < narrow.value
    noisy = X + 1e-3 * np.random.default_rng(4).standard_normal(X.shape)
    assert [one.rank for one in ctrl.certify(F, G, noisy, y, eps=EPS).classes] == [6, 6]
    assert ctrl.certify(F, G, noisy, y, eps=EPS, ranks=RANKS).leader_gap == pytest.approx(0, abs=0.01)


def test_libraries_and_orders_of_samples_agree(data, players):
    import jax
    import torch

    X, y = data
    base = ctrl.certify(*players, X, y, eps=EPS).to_json()
    order = np.random.default_rng(5).permutation(len(X))
    with jax.enable_x64(True):
        tensors = [torch.tensor(a, requires_grad=True) for a in (*players, X)]
        arrays = [jax.numpy.asarray(a) for a in (*players, X)]
        games = ((*tensors, torch.tensor(y)), (*arrays, jax.numpy.asarray(y)),
                 (*players, X[order], np.array(["a", "b"])[y[order]]))  # fmt: skip
        for game in games:
            again = ctrl.certify(*game, eps=EPS).to_json()
            assert again["reduction"] == pytest.approx(base["reduction"], abs=1e-11)
            assert again["nearest"]["ranks"] == base["nearest"]["ranks"]
            assert again["equilibrium"] is True


BAD = {
    "one class": (lambda F, G, X, y: (F, G, X, 0 * y, EPS, None), "name one class"),
    "columns": (lambda F, G, X, y: (F, G, X.T, y, EPS, None), "samples are rows"),
    "decoder": (lambda F, G, X, y: (F, F, X, y, EPS, None), "do not fit"),
    "labels": (lambda F, G, X, y: (F, G, X, y[1:], EPS, None), "one label for each"),
    "not finite": (lambda F, G, X, y: (F * np.nan, G, X, y, EPS, None), "F has an entry that is not finite"),
    "complex": (lambda F, G, X, y: (F, G, X + 0j, y, EPS, None), "must be a real matrix"),
    "eps": (lambda F, G, X, y: (F, G, X, y, 0.0, None), "eps=0.0 must be a positive"),
    "ranks": (lambda F, G, X, y: (F, G, X, y, EPS, (2,)), "must be 2 positive whole numbers"),
    "too high a rank": (lambda F, G, X, y: (F, G, X, y, EPS, (2, 3)), "span only 2 dimensions"),
    "zero class": (lambda F, G, X, y: (F, G, X * (y == 0)[:, None], y, EPS, None), "all samples of class 1 are zero"),
    "zero encoder": (lambda F, G, X, y: (0 * F, G, X, y, EPS, None), "has no energy left"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_refused(data, players, case):
    make, part = BAD[case]
    *arrays, eps, ranks = make(*players, *data)
    with pytest.raises(InputError) as refused:
        ctrl.certify(*arrays, eps=eps, ranks=ranks)
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


# ---------------------------------------------------------------------- the command


@pytest.fixture
def folder(tmp_path, monkeypatch, data, players):
    monkeypatch.chdir(tmp_path)
    F, G = players
    np.savez("game.npz", F=F, G=0.9 * G, X=data[0], labels=data[1])
    np.savez("part.npz", F=F, X=data[0])
    np.save("array.npy", F)
    Path("damaged.npz").write_bytes(Path("game.npz").read_bytes()[:100])
    rng = np.random.default_rng(6)
    np.savez("markov.npz", rewards=rng.random((2, 3, 2, 2)), transitions=rng.dirichlet(np.ones(3), (3, 2, 2)),
             discount=0.5, policy=np.full((2, 3, 2), 0.5))  # fmt: skip
    return tmp_path


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} in JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_command_prints_tables_and_advice(folder, capsys):
    assert main(["certify-game", "game.npz", "--eps", "0.7"]) == 0
    out = capsys.readouterr().out
    parts = ["n = 50, d_x = 6, d_z = 5, 2 classes, eps = 0.7", "leader's gap", "follower", "class", "data lost",
             "The follower loses", "X(FX)^+ would be one"]  # fmt: skip
    assert [part for part in parts if part not in out] == []


def test_json_is_strict_and_the_same_in_the_file(folder, capsys):
    assert main(["certify-game", "game.npz", "--eps", "0.7", "--ranks", "2", "2", "--json", "--out", "c.json"]) == 0
    found = strict(capsys.readouterr().out)
    assert set(found) == KEYS | {"file", "game"}
    assert (found["game"], found["main_defect"]) == ("ctrl", "follower")
    assert strict(Path("c.json").read_text()) == found


def test_a_markov_game_gets_its_nash_gap(folder, capsys):
    assert main(["certify-game", "markov.npz", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    archive = np.load("markov.npz")
    game = MarkovGame(archive["rewards"], archive["transitions"], 0.5)
    assert found["game"] == "markov"
    assert found["gap"] == pytest.approx(potential_games.nash_gap(game, archive["policy"]), abs=1e-12)
    assert main(["certify-game", "markov.npz"]) == 0
    assert f"{found['gap']:.3g}"[:4] in capsys.readouterr().out


BAD_WORDS = {
    "no such file": (["gam.npz", "--eps", "1"], "file 'gam.npz' does not exist; nearest: game.npz"),
    "no archive": (["array.npy", "--eps", "1"], "is no readable npz"),
    "damaged": (["damaged.npz", "--eps", "1"], "is no readable npz"),
    "arrays missing": (["part.npz", "--eps", "1"], "part.npz has no G, labels (it has F, X)"),
    "no eps": (["game.npz"], "--eps is missing"),
    "eps of a Markov game": (["markov.npz", "--eps", "1"], "--eps belongs to games of an encoder"),
    "out": (["game.npz", "--eps", "1", "--out", "c.txt"], "must be a .json file"),
    "ranks": (["game.npz", "--eps", "1", "--ranks", "9", "9"], "span only 2 dimensions"),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_input_is_answered_in_one_sentence(folder, case, capsys):
    words, part = BAD_WORDS[case]
    assert main(["certify-game", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert part in err
    assert err.count("\n") == 1
