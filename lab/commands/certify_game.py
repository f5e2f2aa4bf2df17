"""``lab certify-game``: how far the players of a file are from an equilibrium.

An npz with F, G, X and labels is a game of an encoder and a decoder (CTRL-MSP); one with transitions, rewards,
discount and a policy is a Markov game.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.commands.output import console, number, print_json, table
from lab.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.cli import CertifyGame
    from lab.systems.ctrl.certificate import GameCertificate

__all__ = ["certify_game_file"]

CTRL = ("F", "G", "X", "labels")


def certify_game_file(options: CertifyGame) -> int:
    """Certify the players of a file; print a table and advice, or JSON, and write what was asked for."""
    out = None if options.out is None else Path(options.out)
    if out is not None and (out.suffix != ".json" or not out.parent.is_dir()):
        raise InputError(f"--out {out} must be a .json file in a folder that exists")
    arrays = _load(options.file)
    markov = "transitions" in arrays
    certificate = _markov(arrays, options) if markov else _ctrl(arrays, options)
    found = {"file": options.file, "game": "markov" if markov else "ctrl", **certificate.to_json()}
    if out is not None:
        from lab.study import finite

        out.write_text(json.dumps(finite(found), indent=1) + "\n")
    if options.json:
        print_json(found)
    elif markov:
        print(certificate)
    else:
        _print(certificate, options.file)
    return 0


def _load(file: str) -> dict[str, np.ndarray]:
    path = Path(file)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        raise nearest("file", file, [str(one) for one in folder.glob("*.npz")])
    unreadable = InputError(f"{file} is no readable npz of plain arrays; save one with numpy.savez")
    if not zipfile.is_zipfile(path):  # numpy would leave a damaged file open
        raise unreadable
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError:
        raise unreadable from None


def _markov(arrays: Mapping[str, np.ndarray], options: CertifyGame) -> Any:
    from lab.systems import potential_games

    for name in ("eps", "ranks"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} belongs to games of an encoder and a decoder; this file holds a Markov game")
    return potential_games.certify(*potential_games.game_from_arrays(arrays))


def _ctrl(arrays: Mapping[str, np.ndarray], options: CertifyGame) -> GameCertificate:
    from lab.systems import ctrl

    missing = [name for name in CTRL if name not in arrays]
    if missing:
        there = ", ".join(arrays) or "none"
        raise InputError(
            f"{options.file} has no {', '.join(missing)} (it has {there}); a game of an encoder and a decoder needs F, "
            "G, X and labels, a Markov game transitions, rewards, discount and policy"
        )
    if options.eps is None:
        raise InputError("--eps is missing: give the distortion of the coding rate, not its square")
    return ctrl.certify(*(arrays[name] for name in CTRL), eps=options.eps, ranks=options.ranks)


def _print(c: GameCertificate, file: str) -> None:
    out = console()
    n, d_x, d_z = c.shape
    out.print(f"{file}: n = {n}, d_x = {d_x}, d_z = {d_z}, {len(c.classes)} classes, eps = {number(c.eps)}\n",
              soft_wrap=True)  # fmt: skip
    facts = table("", "nats", "", right=("nats",))
    facts.add_row("Delta R", number(c.reduction), f"{100 * c.reduction / c.value:.1f} % of the leader's value")
    facts.add_row("leader's value", number(c.value), "" if c.attained else "an upper bound only")
    facts.add_row("leader's gap", number(c.leader_gap), "sum of the next three")
    for name, size in c.defects.items():
        facts.add_row(f"  {name}", number(size), "the follower's gap" if name == "follower" else "")
    facts.add_row("nearest maximum", number(c.nearest), f"{c.distance:.3g} away")
    out.print(facts)
    headings = ("class", "n_j", "rank", "energy", "best", "nearest", "isotropy", "follower", "data lost",
                "features lost")  # fmt: skip
    shown = table(*headings, right=headings[1:], title="\nclasses")
    for one in c.classes:
        shown.add_row(one.name, str(one.samples), str(one.rank), number(one.energy, 3), str(one.best_rank),
                      str(one.nearest_rank), number(one.isotropy, 3), number(one.follower, 3), f"{one.data:.1%}",
                      f"{one.features:.1%}")  # fmt: skip
    out.print(shown)
    out.print("best, nearest: equal directions at equilibrium, and at the nearest local maximum; isotropy: nats\n"
              "lost to uneven spectra; lost: share outside the span of what comes back\n")  # fmt: skip
    for sentence in c.sentences:
        out.print(sentence, soft_wrap=True)
