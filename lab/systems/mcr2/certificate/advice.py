"""The certificate in sentences: what was found, what it costs, what to change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lab.systems.mcr2.certificate.report import Certificate, ClassReport

__all__ = ["sentences"]

SHOWN = 4  # classes named one by one in a sentence


def sentences(c: Certificate) -> list[str]:
    """Findings and advice, most important first."""
    return [*_labels(c), *_maximum(c), *_critical(c), *_multiplier(c), *_ranks(c), *_distortion(c), *_cautions(c)]


def _labels(c: Certificate) -> Iterable[str]:
    excess, spread = c.reduction - c.shuffled_mean, c.shuffled_deviation
    shuffled = f"shuffled labels give {_n(c.shuffled_mean)} +- {_n(spread, 2)}"
    if excess <= 4 * spread:
        yield (f"Labels: Delta R = {_n(c.reduction)} nats is no more than chance ({shuffled}): these features say "
               "nothing about these labels at this eps; check that rows and labels are in the same order.")
    else:
        yield f"Labels: Delta R = {_n(c.reduction)} nats, {_n(excess)} above chance ({shuffled})."


def _maximum(c: Certificate) -> Iterable[str]:
    missing, name = c.top - c.reduction, "maximum" if np.isfinite(c.maximum) else "ceiling"
    if missing <= 1e-6 * max(1.0, c.top):
        yield f"Maximum: Delta R is the largest possible at these class energies, {_n(c.top)} nats."
        return
    where = "" if np.isnan(c.position) else f", {_percent(c.position)} of the way from the noise floor {_n(c.null)}"
    overlap = min(max(min(c.overlap_free, c.top) - c.reduction, 0.0), missing)
    k, j = np.unravel_index(int(np.argmax(c.overlap - 2 * np.eye(len(c.classes)))), c.overlap.shape)
    names, angle = c.features.names, c.angles[k, j]
    if c.classes[k].rank + c.classes[j].rank > c.features.dim:  # then the angle is 0 for want of room
        angle = np.nan
    most = f"{names[k]} and {names[j]} most: overlap {c.overlap[k, j]:.2f}"
    most += "" if np.isnan(angle) else f", smallest angle {angle:.0f} degrees"
    parts = []
    if overlap > 1e-3 * missing:
        parts.append(f"overlap of classes costs {'up to ' if c.overlap_free > c.top else ''}{_n(overlap)} ({most})")
    if missing - overlap > 1e-3 * missing:
        parts.append(f"uneven spectra within classes {_n(missing - overlap)}")
    yield f"Maximum: {_n(missing)} nats below the {name} {_n(c.top)}{where}; {', '.join(parts)}."


def _critical(c: Certificate) -> Iterable[str]:
    how = "the matched multiplier" if c.matched else "this multiplier"
    F = f"F = {_n(c.value)} of at most {_n(c.best)} nats"
    if c.status == "not critical":
        yield (f"Critical point: not one, the gradient of F at {how} is {_percent(c.criticality)} of its parts; {F}. "
               f"Nearest local maximum: {_ranks_of(c)}, {_percent(c.local_maximum.distance)} of the features' length "
               "away.")
    else:
        title = {"global maximum": "the global maximum of F: nothing is left to gain",
                 "local maximum": f"a local maximum of F, not the global one ({F})",
                 "saddle": f"a saddle of F ({F})"}[c.status]  # fmt: skip
        proof = "" if c.curvature.method == "dense" or c.status == "saddle" else ", as far as Lanczos iteration sees"
        yield f"Critical point: {title}{proof}; gradient {c.criticality:.1e} of its parts."
    if c.curvature.escapes and c.curvature.gain > 0:
        kind = "" if c.escape_kind is None else f" ({c.escape_kind})"
        count = "" if c.curvature.index is None else f"one of {c.curvature.index} directions of positive curvature, "
        yield (f"Escape: {count}curvature {_n(c.curvature.value)} alpha{kind}; a step of "
               f"{_percent(abs(c.curvature.step))} of the features' length along it raises F by "
               f"{_n(c.curvature.gain)} nats.")


def _multiplier(c: Certificate) -> Iterable[str]:
    lam, said = c.lam, 0
    over = [one for one in c.classes if lam > one.maxwell]
    for one in over[:SHOWN]:
        beyond = lam > one.spinodal
        name, point = ("spinodal", one.spinodal) if beyond else ("Maxwell point", one.maxwell)
        fate = "ascent of F takes it to zero whatever its spectrum" if beyond else "zero is better than any spectrum"
        gain = f"dropping it raises F by {_n(one.drop_gain)} nats" if one.drop_gain > 0 else \
            f"though dropping it as it stands costs {_n(-one.drop_gain)} nats"
        yield f"Class {one.name}: lambda = {_n(lam)} is above its {name} {_n(point)}: {fate}; {gain}."
        said += 1
    if len(over) > said:
        yield f"So are {len(over) - said} more classes ({_listed(over[said:])})."
    waste = [one for one in c.classes if one.drop_gain > 0 and lam <= one.maxwell]
    if waste:
        waste.sort(key=lambda one: -one.drop_gain)
        first = waste[0]
        who = f"class {first.name}" if len(waste) == 1 else \
            f"any one of {len(waste)} classes ({_listed(waste)}; most for {first.name})"
        gain = f"{'up to ' if len(waste) > 1 else ''}{_n(first.drop_gain)} nats"
        yield (f"Idle energy: dropping {who} raises F by {gain} although lambda is below the Maxwell point: its energy "
               "lies where other classes are, or below u_minus.")
    least = min(c.classes, key=lambda one: one.maxwell)
    if not over:
        yield (f"Multiplier: lambda = {_n(lam)} keeps every class worth having; the first to lose is class "
               f"{least.name}, worthless from {_n(least.maxwell)} and collapsing from {_n(least.spinodal)}.")
    else:
        yield (f"Multiplier: every class is worth having for lambda below {_n(least.maxwell)} (class {least.name}).")
    full = [one for one in c.classes if one.rank_at_max > 0]
    if full and len(full) < len(c.classes):
        yield (f"The global maximum of F gives all directions to {len(full)} of {len(c.classes)} classes "
               f"({_listed(full)}): F alone prefers small classes, only fixed class energies keep the others.")


def _ranks(c: Certificate) -> Iterable[str]:
    if not np.isfinite(c.maximum):
        return
    low = [one for one in c.classes if one.spread < 0.75 * one.best_rank]
    high = [one for one in c.classes if one.spread > one.best_rank / 0.75]
    for group, verb in ((low, "too few"), (high, "too many")):
        if group:
            pairs = ", ".join(f"{one.name}: {one.spread:.1f} of {one.best_rank}" for one in group[:SHOWN])
            more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
            yield f"Spectra: {verb} effective directions in {_count(len(group), 'class')} ({pairs}{more})."


def _distortion(c: Certificate) -> Iterable[str]:
    if not np.isfinite(c.maximum):
        return
    ranks = [one.best_rank for one in c.classes]
    used = f"{sum(ranks)} of {c.features.dim} dimensions"
    first = min(c.classes, key=lambda one: one.rank_loss_eps)
    spread = f"rank {ranks[0]} to every class" if len(set(ranks)) == 1 else f"ranks {min(ranks)} to {max(ranks)}"
    if np.isfinite(first.rank_loss_eps):
        yield (f"Distortion: at eps = {_n(c.features.eps)} the best orthogonal classes of these energies take {spread} "
               f"({used}); beyond eps = {_n(first.rank_loss_eps)} they lose rank, class {first.name} first.")
    else:
        room = "a smaller eps would use more" if sum(ranks) < c.features.dim else "there is no room for more"
        yield (f"Distortion: at eps = {_n(c.features.eps)} the best orthogonal classes of these energies take {spread} "
               f"({used}); {room}.")


def _cautions(c: Certificate) -> Iterable[str]:
    f = c.features
    alone = [one for one in c.classes if one.samples == 1]
    if alone:
        yield (f"Caution: {_count(len(alone), 'class')} ({_listed(alone)}) {'has' if len(alone) == 1 else 'have'} one "
               "sample: rank one at most, and the floors are asymptotic in the class sizes.")
    if len(c.classes) > f.dim:
        yield (f"Caution: {len(c.classes)} classes in {f.dim} dimensions cannot be orthogonal; the maximum is unknown "
               "and the ceiling stands for it.")
    if f.normalise == "none" and c.matched:
        mean = float(np.sqrt(f.energies.sum() / f.count))
        if not 0.2 <= f.eps / mean <= 2:
            yield (f"Caution: eps = {_n(f.eps)} against rows of root-mean-square norm {_n(mean)}; rates compare with "
                   "the literature at eps of about half that norm, or with --normalise unit.")


def _n(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}"


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if abs(value) < 0.0995 else f"{100 * value:.0f} %"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 'es'}"


def _listed(classes: list[ClassReport]) -> str:
    names = ", ".join(one.name for one in classes[:SHOWN])
    return names if len(classes) <= SHOWN else f"{names}, ..."


def _ranks_of(c: Certificate) -> str:
    ranks = c.local_maximum.ranks.tolist()
    if not any(ranks):
        return "Z = 0"
    listed = str(ranks) if len(ranks) <= 12 else f"{min(ranks)} to {max(ranks)}, {sum(ranks)} in all"
    return f"ranks {listed}, F = {_n(c.local_maximum.value)}"
