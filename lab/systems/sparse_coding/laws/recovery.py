"""Recovery of codes that are sparse in every stripe, exactly by basis pursuit and stably by the Lasso."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Equality
from lab.data.convolutional import dictionary, filter_bank, patch_norm, stripe_sparse_codes
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import convolutional_coding as coding
from lab.params import Ge, Le, LogScale, Params
from lab.systems.sparse_coding import theory

PSE = "arXiv:1707.06066"


class Stripes(Params):
    """Sign filters, the least coherent of 30 banks, and codes with as many nonzeros per stripe as a theorem allows."""

    count: Annotated[int, Ge(1), Le(3)] = 2
    size: Annotated[int, Ge(11), Le(41)] = 31
    stripes: Annotated[int, Ge(2), Le(6)] = 5

    @property
    def length(self) -> int:
        return self.stripes * (2 * self.size - 1)


def incoherent_bank(rng: np.random.Generator, count: int, size: int, banks: int = 30) -> np.ndarray:
    """Sign filters of the smallest coherence among `banks` draws."""
    drawn = [filter_bank(rng, count=count, size=size, kind="sign") for _ in range(banks)]
    return min(drawn, key=theory.coherence)


def striped(p: Stripes, stream) -> dict[str, np.ndarray]:
    """Filters of coherence mu and codes with fewer than (1 + 1/mu)/2 nonzeros in every stripe."""
    rng = stream.numpy("striped")
    filters = incoherent_bank(rng, p.count, p.size)
    allowed = theory.whole_stripe(theory.recovery_stripe(theory.coherence(filters)))
    codes = stripe_sparse_codes(
        rng, count=p.count, length=p.length, size=p.size, per_stripe=allowed, amplitude="gauss"
    )  # fmt: skip
    return {"filters": filters, "codes": codes}


@measurement
def pursued(p: Stripes, data, stream, *, crowd: int = 0, noise: float = 0.0):
    """Difference between the basis pursuit of ``D gamma`` and gamma, which has `crowd` nonzeros per stripe if positive.

    `noise` is the standard deviation of noise on the signal.
    """
    filters, codes = data["filters"], data["codes"]
    rng = stream.numpy("other")
    if crowd:
        codes = stripe_sparse_codes(
            rng, count=p.count, length=p.length, size=p.size, per_stripe=crowd, amplitude="gauss"
        )  # fmt: skip
    D = dictionary(filters, p.length)
    signal = D @ codes.ravel()
    return np.max(np.abs(coding.basis_pursuit(signal + noise * rng.standard_normal(p.length), D) - codes.ravel()))


def feasibility(p: Stripes) -> float:
    """the linear program leaves up to 1e-7 in each of N equations; columns of the support have Gram eigenvalues of at
    least 1 - (stripe - 1) mu > 1/2, so an error of the code is at most sqrt(2 N) as large"""
    return float(1e-7 * np.sqrt(2 * p.length))


LOCAL_COHERENCE_RECOVERY = Law(
    id="sparse_coding/local-coherence-recovery",
    source=Source(PSE, "theorem on basis pursuit and stripes"),
    statement="""
    If every stripe (2n - 1 shifts, all M filters) has fewer than (1 + 1/mu)/2 nonzeros, basis pursuit recovers the
    code, however many nonzeros there are altogether. Measured: largest error of the linear program's solution.
    """,
    params=Stripes,
    situation=striped,
    predict=lambda p: 0.0,
    measure=pursued,
    claim=Equality(stated=feasibility, scale=1.0),
    controls={
        "30 nonzeros per stripe": but(measure=partial(pursued, crowd=30), examples=(Stripes(),), draws=Draws(shapes=0)),
        "noise on the signal": but(measure=partial(pursued, noise=0.01), examples=(Stripes(),), draws=Draws(shapes=0)),
    },
    examples=(Stripes(), Stripes(count=3, size=23, stripes=4)),
    draws=Draws(shapes=6, values=1),
)


# ---------------------------------------------------------------------- noise


class Noisy(Stripes):
    """Codes with fewer than (1 + 1/mu)/3 nonzeros per stripe, white noise of standard deviation `noise`."""

    count: Annotated[int, Ge(1), Le(2)] = 2
    size: Annotated[int, Ge(15), Le(41)] = 31
    noise: Annotated[float, Ge(1e-6), Le(1e-2), LogScale()] = 1e-3

    @model_validator(mode="after")
    def _something_fits(self) -> Self:
        if self.count > 1 and self.size < 21:
            raise ValueError(f"size={self.size} is short for {self.count} incoherent filters; raise it to 21")
        return self


def noisy(p: Noisy, stream) -> dict[str, np.ndarray]:
    """Filters, codes of random magnitudes between 1 and 100 times the noise's patch norm, noise, and that norm."""
    rng = stream.numpy("noisy")
    filters = incoherent_bank(rng, p.count, p.size)
    allowed = theory.whole_stripe(theory.stability_stripe(theory.coherence(filters)))
    codes = stripe_sparse_codes(rng, count=p.count, length=p.length, size=p.size, per_stripe=allowed)
    noise = p.noise * rng.standard_normal((1, p.length))
    level = patch_norm(noise, p.size)
    return {"filters": filters, "codes": codes * level * 10 ** rng.uniform(0, 2, codes.shape), "noise": noise,
            "level": level}  # fmt: skip


@measurement
def denoised(p: Noisy, data, stream, *, penalty: float = theory.PENALTY):
    """Largest error of the Lasso with ``lam = penalty eps_L`` over eps_L; false and missed large entries."""
    level = float(data["level"])
    signal = coding.decode(data["codes"], data["filters"]) + data["noise"]
    found = coding.lasso(signal, data["filters"], lam=penalty * level)
    true, large = data["codes"] != 0, np.abs(data["codes"]) > theory.ERROR * level
    wrong = np.sum((found.codes != 0) & ~true) + np.sum((found.codes == 0) & large)
    return {"error": np.max(np.abs(found.codes - data["codes"])) / level, "wrong": float(wrong)}


def lasso_units(p: Noisy) -> float:
    """the exact solution on the support: Gram eigenvalues above 1/2 and numbers up to 100 eps_L; 100 n epsilons"""
    return 100.0 * p.size


NOISE_STABILITY = Law(
    id="sparse_coding/noise-stability",
    source=Source(PSE, "theorem on the Lasso and stripes"),
    statement="""
    Fewer than (1 + 1/mu)/3 nonzeros in every stripe, noise whose patches have norm at most eps_L, lam = 4 eps_L: every
    entry of the Lasso's solution is within 7.5 eps_L of the code's. Measured: largest error over eps_L.
    """,
    params=Noisy,
    situation=noisy,
    predict=lambda p: theory.ERROR,
    measure=denoised,
    claim=Bound(of="error", side="upper", rounding=lasso_units),
    controls={"penalty 10 eps_L": but(measure=partial(denoised, penalty=10.0))},
    examples=(Noisy(), Noisy(count=1, size=15)),
    draws=Draws(shapes=6, values=2),
)

NOISE_SUPPORT = Law(
    id="sparse_coding/noise-support",
    source=Source(PSE, "theorem on the Lasso and stripes"),
    statement="""
    In the setting of sparse_coding/noise-stability the solution has no entry off the support of the code, and finds
    all entries above 7.5 eps_L. Measured: false entries and large entries missed.
    """,
    params=Noisy,
    situation=noisy,
    predict=lambda p: 0.0,
    measure=denoised,
    claim=Equality(of="wrong", scale=1.0),
    controls={
        "a sixteenth of the penalty": but(measure=partial(denoised, penalty=theory.PENALTY / 16)),
        "penalty 10 eps_L": but(measure=partial(denoised, penalty=10.0)),
    },
    examples=NOISE_STABILITY.examples,
    draws=NOISE_STABILITY.draws,
)
