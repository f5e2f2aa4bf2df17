"""``lab certify``: where the features of a file stand in the landscape of rate reduction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.commands.output import console, number, print_json, table
from lab.errors import InputError

if TYPE_CHECKING:
    from lab.cli import Certify
    from lab.systems.mcr2.certificate import Certificate

__all__ = ["certify_file"]

SHOWN = 40  # classes in the table


def certify_file(options: Certify) -> int:
    """Certify the features of a file; print tables and advice, or JSON, and write what was asked for."""
    from lab.data.features import load_features
    from lab.systems.mcr2.certificate import certify

    targets = _targets(options)
    source = load_features(options.file, labels=options.labels, features=options.features)
    certificate = certify(source.Z, source.labels, eps=options.eps, lam=options.lam, normalise=options.normalise)
    try:
        written = _write(certificate, targets, options)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; choose another place with --out or --figure") from None
    if options.json:
        print_json({"file": options.file, "labels": options.labels, **certificate.to_json()})
    else:
        _print(certificate, options.file)
        if written:
            console().print(f"\nwritten: {', '.join(map(str, written))}", soft_wrap=True)
    return 0


def _targets(options: Certify) -> dict[str, Path]:
    """Files to write; refused before anything is computed if they cannot be."""
    targets = {}
    if options.out is not None:
        folder = Path(options.out)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--out {folder} is a file; choose a folder")
        targets = {name: folder / file for name, file in
                   (("json", "certificate.json"), ("figure", "figure.png"), ("escape", "escape.npz"))}  # fmt: skip
    if options.figure is not None:
        targets["figure"] = Path(options.figure)
        if targets["figure"].suffix not in (".png", ".svg", ".pdf"):
            raise InputError(f"--figure {options.figure}: figures are written as .png, .svg or .pdf; name one such")
        if not targets["figure"].parent.is_dir():
            folder = targets["figure"].parent
            raise InputError(f"--figure {options.figure}: folder {folder} does not exist; make it first")
    return targets


def _write(certificate: Certificate, targets: dict[str, Path], options: Certify) -> list[Path]:
    if "json" in targets:
        from lab.study import finite

        targets["json"].parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(finite({"file": options.file, "labels": options.labels, **certificate.to_json()}), indent=1)
        targets["json"].write_text(text + "\n")
        curvature = certificate.curvature
        np.savez(targets["escape"], direction=curvature.direction, curvature=curvature.value,
                 step=curvature.step * np.linalg.norm(certificate.features.Z))  # fmt: skip
    if "figure" in targets:
        from lab.commands.certificate_figure import save_figure

        save_figure(certificate, targets["figure"], title=f"{Path(options.file).name}: {_setting(certificate)}")
    return list(targets.values())


def _setting(c: Certificate) -> str:
    f = c.features
    scale = {"unit": "rows of norm one", "class": "classes of energy N_k", "none": "features as they are"}[f.normalise]
    origin = "matched to the features" if c.matched else "given"
    return (f"N = {f.count}, d = {f.dim}, {len(f.sizes)} classes, eps = {number(f.eps)}, {scale}, "
            f"lambda = {number(c.lam)} ({origin})")  # fmt: skip


def _print(c: Certificate, file: str) -> None:
    out = console()
    out.print(f"{file}: {_setting(c)}\n", soft_wrap=True)
    facts = table("", "", "")
    facts.show_header = False
    for row in _facts(c):
        facts.add_row(*row)
    out.print(facts)
    headings = ("class", "N_k", "rank", "spread", "best", "u_1", "u_-", "u_+", "lambda_*", "lambda_c", "eps loss",
                "drop: F", "overlap")  # fmt: skip
    shown = table(*headings, right=headings[1:-1], title="\nclasses")
    for one in c.classes[:SHOWN]:
        shown.add_row(
            one.name, str(one.samples), str(one.rank), number(one.spread, 3), str(one.best_rank),
            number(one.u[0], 3), *(number(v if np.isfinite(v) else None, 3) for v in (one.u_minus, one.u_plus)),
            *(number(v, 3) for v in (one.maxwell, one.spinodal, one.rank_loss_eps)), f"{one.drop_gain:+.3g}",
            f"{one.overlap:.2f} with {one.closest}",
        )  # fmt: skip
    out.print(shown)
    if len(c.classes) > SHOWN:
        out.print(f"... and {len(c.classes) - SHOWN} more; --json has them all")
    out.print("rank: directions above u_-; spread: effective directions; best: rank at the maximum of Delta R; "
              "eps loss: where it falls;\ndrop: change of F when the class is set to zero\n")  # fmt: skip
    for sentence in c.sentences:
        out.print(sentence)


def _facts(c: Certificate) -> list[tuple[str, str, str]]:
    f, entry, local = c.features, c.entry, c.local_maximum
    theta = c.fractions[np.isfinite(c.fractions)]
    alone = int(np.sum(np.min(np.abs(theta[:, None] / f.x - 1), axis=1) < 0.25))
    index = "" if c.curvature.index is None else f", {c.curvature.index} positive"
    top = f"{number(c.top)} ({'maximum' if np.isfinite(c.maximum) else 'ceiling'})"
    rows = [
        ("Delta R", f"{number(c.reduction)} nats", f"R {number(c.rate)} - R_c {number(c.class_rate)}"),
        ("  chance", number(c.shuffled_mean), f"shuffled labels; for rows in general position {number(c.shuffled)}"),
        ("  noise floor", number(c.null), f"white noise of this energy, +- {number(c.null_deviation, 2)}"),
        ("  largest", top, f"orthogonal classes of these energies; never above {number(c.ceiling)}"),
        ("F", f"{number(c.value)} nats", f"global maximum {number(c.best)}; gradient {c.criticality:.2g} of its parts"),
        ("  status", c.status, f"largest curvature {number(c.curvature.value)} alpha ({c.curvature.method}{index}), "
                               f"residual {c.curvature.residual:.1e}"),
        ("  nearest entry", _parts(entry, f.names), f"{entry.kind}, index {entry.index}, {_apart(c, entry)}"),
        ("  nearest maximum", _parts(local, f.names), _apart(c, local)),
        ("effective fractions", f"{len(c.eigenvalues)} directions",
         f"{alone} read as one class alone, {theta.size - alone} as something else, "
         f"{len(c.eigenvalues) - theta.size} as larger than any critical one"),
    ]  # fmt: skip
    return rows


def _apart(c: Certificate, entry: Any) -> str:
    gap = c.value - entry.value
    return f"F {number(entry.value)}, within {100 * entry.distance:.3g} % of the features, F differs by {gap:+.3g}"


def _parts(entry: Any, names: list[str]) -> str:
    """Eigenspaces in short: ``0+ x2, (1 2)- x1``."""
    words = []
    for held, sign, _, _, m in entry.parts:
        who = names[held[0]] if len(held) == 1 else f"({' '.join(names[k] for k in held)})"
        words.append(f"{who}{'+' if sign > 0 else '-'} x{m}")
    if len(words) > 12:
        return f"{len(words)} eigenspaces, {sum(part[-1] for part in entry.parts)} directions"
    return ", ".join(words) or "Z = 0"
