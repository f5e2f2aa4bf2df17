"""Claims: regions, verdicts, resolution; that a wrong prediction is refuted and a right one is not."""

import numpy as np
import pytest

from lab.claims import Bound, Classification, Crossover, Equality, Evidence, Limit, Rate, Verdict
from lab.claims.statistics import LEVEL, clopper_pearson, student_quantile
from lab.errors import InputError

RNG = np.random.default_rng(1)


def judged(claim, predicted, x=None, data=None, p=None, **observed):
    region = claim.accept(Evidence(p, {k: np.asarray(v) for k, v in observed.items()}, x, data), predicted)
    return claim.judge(region)


# ---------------------------------------------------------------------- Equality


def test_equality_of_each_replicate_in_units_of_rounding():
    claim = Equality(of="y", rounding=4.0)
    assert judged(claim, 1.0, y=[1.0, 1 + 4e-16]).holds
    assert judged(claim, 1.0, y=[1.0, 1 + 1e-14]).refuted
    found = judged(claim, 1.0, y=[1.0, 1 + 4e-16])
    assert found.resolution < 2e-15
    assert found.source == "rounding"


def test_a_wide_tolerance_is_undecided_rather_than_held():
    found = judged(Equality(of="y", stated=0.5), 1.0, y=[1.1])
    assert found.verdict == "undecided"
    assert "would pass too" in found.reason
    assert judged(Equality(of="y", stated=0.5, resolve=0.7), 1.0, y=[1.1]).holds


def test_non_finite_is_undecided_and_says_where():
    found = judged(Equality(of="y"), 1.0, y=[1.0, np.nan])
    assert found.verdict == "undecided"
    assert "measurement not finite" in found.reason
    assert judged(Equality(of="y"), np.nan, y=[1.0]).verdict == "undecided"


def test_conditions_restrict_what_is_judged():
    claim = Equality(of="y", given="ok", rounding=1.0)
    found = judged(claim, 1.0, y=[[1.0, 5.0], [1.0, np.nan]], ok=[[True, False], [True, False]])
    assert found.holds
    assert (found.judged, found.total) == (2, 4)
    empty = judged(claim, 1.0, y=[[1.0, 5.0]], ok=[[False, False]])
    assert empty.verdict == "undecided"
    assert "nothing judged" in empty.reason


def test_worst_element_is_reported():
    found = judged(Equality(of="y", rounding=1.0), np.array([1.0, 2.0]), y=[[1.0, 2.5]])
    assert found.refuted
    assert found.index == (0, 1)
    assert (found.predicted, found.measured) == (2.0, 2.5)


def test_prediction_per_replicate_with_a_situation():
    data = [{"a": 1.0}, {"a": 2.0}]
    claim = Equality(of="y", rounding=lambda p, d: d["a"])
    assert judged(claim, np.array([3.0, 4.0]), data=data, y=[3.0, 4.0]).holds
    assert judged(claim, np.array([4.0, 3.0]), data=data, y=[3.0, 4.0]).refuted


def test_prediction_of_a_wrong_shape_is_a_sentence():
    with pytest.raises(InputError, match="one value per element"):
        judged(Equality(of="y"), np.ones(3), y=[[1.0, 2.0]])


def test_unknown_observable_offers_the_nearest():
    with pytest.raises(ValueError, match="rate"):
        judged(Equality(of="rtae"), 1.0, rate=[1.0])


@pytest.mark.parametrize("n", [3, 6, 30])
def test_false_alarms_of_a_mean_are_within_the_level(n):
    claim = Equality(of="y", over="mean", scale=1.0, resolve=np.inf)
    draws = np.random.default_rng(n).normal(2.0, 1.0, (8000, n))
    alarms = sum(judged(claim, 2.0, y=y).refuted for y in draws)
    low, high = clopper_pearson(np.array(alarms), 8000, 1e-6)
    assert low <= LEVEL <= high


def test_a_shifted_mean_is_refuted():
    y = np.random.default_rng(0).normal(2.0, 1.0, 400)
    assert judged(Equality(of="y", over="mean"), 2.5, y=y).refuted


def test_one_replicate_decides_nothing_about_a_mean():
    assert judged(Equality(of="y", over="mean"), 2.0, y=[2.0]).verdict == "undecided"


def test_fraction_uses_the_exact_binomial():
    claim = Equality(of="hit", over="fraction", resolve=np.inf)
    hits = np.arange(1000) < 300
    assert judged(claim, 0.3, hit=hits).holds
    assert judged(claim, 0.36, hit=hits).refuted
    assert judged(Equality(of="hit", over="fraction", scale=1.0, resolve=0.05), 0.0, hit=np.zeros(1000, bool)).holds


def test_best_of_many_starts():
    claim = Equality(of="y", over="max", rounding=8.0)
    assert judged(claim, 1.0, y=[0.2, 1.0, 0.7]).holds
    assert judged(claim, 1.0, y=[0.2, 0.9]).refuted


def test_student_and_binomial_agree_with_scipy():
    from scipy import stats

    assert student_quantile(6, 1e-3) == pytest.approx(stats.t.ppf(1 - 5e-4, 5))
    low, high = clopper_pearson(np.array([0, 3, 10]), 10, 0.05)
    reference = [stats.binomtest(k, 10).proportion_ci(0.95, "exact") for k in (0, 3, 10)]
    assert low == pytest.approx([r.low for r in reference])
    assert high == pytest.approx([r.high for r in reference])


# ---------------------------------------------------------------------- Bound, Classification


def test_bound_is_one_sided():
    claim = Bound(of="y", side="upper", rounding=1.0)
    assert judged(claim, 2.0, y=[1.0, 1.9]).holds
    assert judged(claim, 1.5, y=[1.0, 1.9]).refuted
    assert judged(claim, 2.0, y=[1.0, 1.9]).resolution == pytest.approx(0.05)
    assert judged(Bound(of="y", side="lower", scale=1.0), 0.0, y=[0.1]).holds
    assert judged(Bound(of="y", side="lower", scale=1.0), 0.0, y=[-0.1]).refuted


def test_bound_with_attainment_claimed():
    """The law is decided by its closest approach; points that stay away only must not cross the bound."""
    claim = Bound(of="y", resolve=0.01)
    far, near = judged(claim, 2.0, y=[1.0]), judged(claim, 2.0, y=[1.0, 1.999])
    assert far.holds
    assert near.holds
    assert claim.law_level([far, far]).verdict == "undecided"
    overall = claim.law_level([far, near])
    assert overall.holds
    assert overall.reason == ""
    assert overall.resolution == near.resolution


class At:
    def __init__(self, gap):
        self.gap = gap


def test_classification_resolution_is_the_nearest_point_on_the_worse_side():
    claim = Classification(of="alive", distance=lambda p: p.gap, resolve=0.05)
    groups = [judged(claim, gap > 0, p=At(gap), alive=[gap > 0]) for gap in (-0.3, -0.01, 0.02, 0.5)]
    overall = claim.law_level(groups)
    assert overall.holds
    assert overall.resolution == pytest.approx(0.02)
    one_sided = claim.law_level([g for g, gap in zip(groups, (-0.3, -0.01, 0.02, 0.5), strict=True) if gap > 0])
    assert one_sided.verdict == "undecided"


def test_classification_without_a_boundary_excludes_an_error_rate():
    claim = Classification(of="label", resolve=0.15)
    groups = [judged(claim, 1, label=[1]) for _ in range(48)]
    assert claim.law_level(groups).resolution == pytest.approx(1 - 1e-3 ** (1 / 48))
    assert claim.law_level([*groups, judged(claim, 1, label=[0])]).refuted
    joint = Classification(of="label", resolve=0.15, joint=True)
    triples = [judged(joint, np.ones(3), label=[[1, 1, 1]]) for _ in range(48)]
    # three labels of one point count once
    assert joint.law_level(triples).resolution == pytest.approx(1 - 1e-3 ** (1 / 48))


# ---------------------------------------------------------------------- Crossover

X = np.linspace(0, 1, 21)


def test_sharp_crossover_is_known_to_the_bracket():
    y = (X < 0.42).astype(float)[:, None]
    claim = Crossover(of="y", along="x", sharp=True)
    found = judged(claim, 0.42, x=X, y=y)
    assert found.holds
    assert (found.low, found.high) == pytest.approx((0.4, 0.45))
    assert judged(claim, 0.47, x=X, y=y).refuted


def test_interpolated_crossover_with_its_curvature_error():
    y = np.exp(-3 * X)[:, None]
    claim = Crossover(of="y", along="x", level=0.3)
    truth = -np.log(0.3) / 3
    found = judged(claim, truth, x=X, y=y)
    assert found.holds
    assert found.high - found.low < 0.01
    assert judged(claim, truth + 0.01, x=X, y=y).refuted


def test_no_crossing_puts_the_location_outside_the_scanned_range():
    claim = Crossover(of="y", along="x", falling=True)
    always = np.ones((21, 1))
    assert judged(claim, 0.5, x=X, y=always).refuted
    assert judged(claim, 1.5, x=X, y=always).verdict != "refuted"
    assert judged(claim, -0.5, x=X, y=always).refuted
    assert judged(claim, 0.5, x=X, y=0 * always).refuted


def test_crossover_of_several_thresholds_and_replicates():
    noise = np.random.default_rng(3).normal(0, 0.01, (21, 12))
    y = (1 - X)[:, None] + noise
    claim = Crossover(of="y", along="x", level=(0.25, 0.75))
    assert judged(claim, [0.75, 0.25], x=X, y=y).holds
    assert judged(claim, [0.75, 0.35], x=X, y=y).refuted


def test_each_replicate_has_its_own_crossing():
    y = np.stack([X < 0.42, X < 0.43], axis=1)
    claim = Crossover(of="y", along="x", sharp=True, over="each")
    assert judged(claim, 0.42, x=X, y=y).holds
    assert judged(claim, 0.42, x=X, y=np.stack([X < 0.42, X < 0.63], axis=1)).refuted


def test_noise_that_moves_the_crossing_widens_the_region():
    rng = np.random.default_rng(5)
    centres = 0.5 + 0.1 * rng.standard_normal(8)
    y = 1 / (1 + np.exp((X[:, None] - centres) / 0.05))
    found = judged(Crossover(of="y", along="x", resolve=np.inf), 0.5, x=X, y=y)
    assert found.holds
    assert found.source == "statistics"


# ---------------------------------------------------------------------- Limit, Rate

N = 2.0 ** np.arange(3, 12)


def test_limit_extrapolates_the_next_order():
    y = (2 * N * (1 + 3 / N))[:, None]
    claim = Limit(of="y", along="n", order=1.0)
    assert judged(claim, 2 * N, x=N, y=y).holds
    assert judged(claim, 2.1 * N, x=N, y=y).refuted


def test_limit_as_a_difference_with_noise():
    rng = np.random.default_rng(2)
    y = 5 + (4 / N)[:, None] + rng.normal(0, 0.01, (9, 16))
    claim = Limit(of="y", along="n", as_="difference", scale=5.0)
    assert judged(claim, 5.0, x=N, y=y).holds
    assert judged(claim, 5.2, x=N, y=y).refuted


def test_logarithmic_order():
    x = np.geomspace(1e2, 1e8, 25)
    y = (1 + 7 * np.log(x) / x)[:, None]
    assert judged(Limit(of="y", along="t", order=lambda x: np.log(x) / x), 1.0, x=x, y=y).holds


def test_rate_separates_a_half_from_one():
    rng = np.random.default_rng(4)
    y = np.abs((N**-0.5)[:, None] * (1 + 0.01 * rng.standard_normal((9, 20))))
    claim = Rate(of="y", along="n")
    assert judged(claim, -0.5, x=N, y=y).holds
    assert judged(claim, -1.0, x=N, y=y).refuted


def test_rate_of_a_deviation_tests_a_claimed_order():
    x = np.geomspace(10, 1e5, 40)
    y = (3 + 2 / x)[:, None]
    claim = Rate(of="y", along="x", deviation=True)
    assert judged(claim, {"limit": 3.0, "rate": -1.0}, x=x, y=y).holds
    assert judged(claim, {"limit": 3.0, "rate": -2.0}, x=x, y=y).refuted
    assert judged(claim, {"limit": 3.1, "rate": -1.0}, x=x, y=y).refuted


def test_exponential_rate():
    t = np.linspace(0, 10, 30)
    assert judged(Rate(of="y", along="t", semilog=True), -0.7, x=t + 1, y=np.exp(-0.7 * t)[:, None]).holds


def test_internal_axis():
    y = (2 * N * (1 + 3 / N))[None]
    claim = Limit(of="y", along="n", order=1.0)
    assert judged(claim, 2 * N, n=N[None], y=y).holds
    assert judged(claim, lambda n: 2 * n, n=N[None], y=y).holds


def test_points_below_the_floor_are_dropped():
    y = (1 + 1 / N**4)[:, None]
    claim = Limit(of="y", along="n", order=4.0, floor=lambda p: 1e-5, as_="difference", scale=1.0)
    found = judged(claim, 1.0, x=N, y=y)
    assert found.verdict == "undecided"
    assert "points above" in found.reason


# ---------------------------------------------------------------------- whole laws


def test_a_law_of_groups():
    claim = Equality()
    held = Verdict("holds", margin=0.1, resolution=0.01, judged=1, total=1)
    open_ = Verdict("undecided", "wide", margin=0.1, resolution=0.5, judged=1, total=1)
    broken = Verdict("undecided", "not finite", judged=1, total=1)
    refuted = Verdict("refuted", "off", margin=3.0, judged=1, total=1)
    assert claim.law_level([held, open_]).holds
    assert claim.law_level([open_]).verdict == "undecided"
    assert claim.law_level([held, broken]).verdict == "undecided", "non-finite is never dropped"
    assert claim.law_level([held, refuted, broken]).refuted
    assert claim.law_level([held, held]).judged == 2
