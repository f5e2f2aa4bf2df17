"""How well one layer reconstructs with its quadratic decoder: the loss it was given, exactly."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Equality
from lab.data.flattening import gp_manifold, sine_graph
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import flattening_layers as maps
from lab.models.flatnet import NEGLIGIBLE, Patch, fit_patch
from lab.models.flattening_layers import Layer
from lab.params import Ge, Le, LogScale, Params
from lab.systems.flatnet import theory
from lab.systems.flatnet.laws.inversion import DERIVED


class Fitted(Params):
    """A layer fitted to n samples of a sine graph (D = 2) or of a random surface of dimension 2 in R^5."""

    surface: Literal["sine", "random surface"] = "sine"
    n: Annotated[int, Ge(50), Le(100)] = 50
    radius: Annotated[float, Ge(0.6), Le(1.5)] = 0.8
    height: Annotated[float, Ge(0.1), Le(0.9)] = 0.5
    threshold: Annotated[float, Ge(1e-8), Le(1e-3), LogScale()] = 1e-5
    centre: Literal["mean", "sample"] = "mean"


def samples(p: Fitted, stream) -> dict[str, np.ndarray]:
    """Samples (n, D), a sixth of them far away, and the fit around one: loss, weight share and largest model error."""
    rng = stream.numpy("samples")
    sine = p.surface == "sine"
    Z = sine_graph(p.n, rng=rng).X if sine else 2 * gp_manifold(rng, p.n, 2, 5, length=0.5).X
    Z[: p.n // 6] += 9 * p.radius
    patch, raw = _patch(p, Z)
    return {"Z": Z, "loss": np.array(patch.loss), "share": np.array(patch.points / p.n), "largest": raw.max()}


def _patch(p: Fitted, Z: np.ndarray) -> tuple[Patch, np.ndarray]:
    """The fit around the middle sample, and the length of the model's error at every sample, not weighted."""
    sample = Z[p.n // 2]
    patch = fit_patch(Z, sample, 1 if p.surface == "sine" else 2, p.radius, centre=p.centre)
    u = (Z - sample) @ patch.frame
    error = Z - sample - u @ patch.frame.T - maps.quadratic_monomials(u) @ patch.model.T
    return patch, np.sqrt(np.sum(error**2, axis=1))


@measurement
def reconstruction(p: Fitted, data, stream, *, moved: float = 0.0):
    """Root mean square distance of samples from their images, encoded and decoded. The layer's kernel is `moved` by so
    many radii from where the loss was measured.
    """
    patch, _ = _patch(p, data["Z"])
    alpha = min(p.height, np.sqrt(p.threshold / patch.loss))
    centre = patch.centre + moved * p.radius * patch.frame[:, 0]
    blank = np.zeros(len(centre))
    layer = Layer(centre, patch.frame, patch.gamma, alpha, data["Z"][p.n // 2], patch.model, blank, 1.0)
    gap = maps.decode_quadratic(maps.encode(data["Z"], layer), layer) - data["Z"]
    return {"rms": np.sqrt(np.mean(np.sum(gap**2, axis=1)))}


def error(p: Fitted, data, *, halved: bool = True) -> float:
    """sqrt(2 D min(threshold, height² loss) N_eff/N); without the 2 if not `halved`."""
    D = data["Z"].shape[1]
    value = float(theory.layer_error(data["loss"], p.threshold, p.height, D, data["share"]))
    return value if halved else value / np.sqrt(2)


def outside(p: Fitted, data) -> float:
    """samples outside the fit are moved by at most height times 1e-6 times the largest error of the model"""
    return p.height * NEGLIGIBLE * float(data["largest"])


def decoding_units(p: Fitted, data) -> float:
    """coordinates of the size of the samples are encoded and decoded, in sums of D products off by 10 + D epsilons;
    the quadratic model cancels terms as large as its largest error; the inverse amplifies by 1/(1 - height)"""
    size = float(np.max(np.abs(data["Z"]))) + float(data["largest"])
    return 4 * (10 + data["Z"].shape[1]) * size / (1 - p.height)


LAYER_ERROR_BUDGET = Law(
    id="flatnet/layer-error-budget",
    source=Source(DERIVED),
    statement="""
    A layer's loss is half the mean squared entry of the weighted error of its quadratic model, over the N_eff samples
    of weight above 1e-6; its height is alpha = min(height, sqrt(threshold/loss)). Encoded and decoded by the quadratic
    decoder, samples come back with a root mean square error of exactly

        sqrt(2 D min(threshold, height² loss) N_eff/N),

    6.3e-3 for D = 2 and the published threshold 1e-5, in every layer whose height is not the largest.
    """,
    params=Fitted,
    situation=samples,
    predict=error,
    measure=reconstruction,
    claim=Equality(of="rms", rounding=decoding_units, finite_size=outside, resolve=0.01),
    controls={
        "half of the loss forgotten": but(predict=partial(error, halved=False)),
        "kernel moved off the loss's": but(measure=partial(reconstruction, moved=0.5)),
    },
    examples=(
        Fitted(), Fitted(centre="sample"), Fitted(surface="random surface"), Fitted(height=0.1, threshold=1e-3),
        Fitted(radius=1.5, n=100),
    ),
    draws=Draws(shapes=5, values=3),
)  # fmt: skip
