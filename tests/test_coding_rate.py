"""Coding rates and their derivatives: one answer from every library, Gram side and way to give classes."""

import math

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function

from lab.arrays import to_numpy
from lab.objectives.coding_rate import (
    class_coding_rate,
    class_coding_rate_gradient,
    coding_rate,
    coding_rate_gradient,
    hessian_vector_product,
    membership,
    membership_gradient,
    rate_reduction,
    rate_reduction_gradient,
    regularised_rate_reduction,
    regularised_rate_reduction_gradient,
    value_and_gradient,
)

# Libraries sum in different orders. Condition numbers here are below 1e3 and sizes below 100, so values agree to about
# 1e2 x 2e-16 (1e-13, 1e-12 where terms cancel), derivatives, which square the condition, to 1e3 times as much.
EPS, LAM = 0.4, 0.07
# d <= N_k; N_k < d <= N; N < d; sizes on both sides of d, in several groups; padding inside a group; an empty class.
SHAPES = {
    "tall": (3, (5, 5)),
    "middle": (7, (5, 5, 5)),
    "wide": (16, (4, 4)),
    "mixed": (6, (2, 13, 4, 3)),
    "padded": (9, (25, 24, 26)),
    "empty": (4, (6, 0, 3)),
}


def instance(shape, rng=None):
    rng = rng or np.random.default_rng(5)
    dim, sizes = SHAPES[shape]
    Z = rng.standard_normal((sum(sizes), dim))
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return Z, labels, sizes


def soft(rng, count, K):
    weights = rng.random((count, K)) ** 2
    return weights / weights.sum(axis=-1, keepdims=True)


def rate(Z, beta):
    """Reference by eigenvalues of the d x d matrix, columns as in the papers."""
    return 0.5 * np.log1p(beta * np.linalg.eigvalsh(Z.T @ Z).clip(0)).sum()


def all_values(Z, classes, **options):
    return (
        coding_rate(Z, **options),
        class_coding_rate(Z, classes, **options),
        rate_reduction(Z, classes, **options),
        regularised_rate_reduction(Z, classes, lam=LAM, **options),
    )


def all_derivatives(Z, E, classes, *, eps, lam):
    return (
        *value_and_gradient(Z, classes, eps=eps, lam=lam),
        hessian_vector_product(Z, E, classes, eps=eps, lam=lam),
        membership_gradient(Z, classes, eps=eps),
    )


def all_gradients(Z, classes, *, eps, lam):
    return (
        coding_rate_gradient(Z, eps=eps),
        class_coding_rate_gradient(Z, classes, eps=eps),
        rate_reduction_gradient(Z, classes, eps=eps),
        regularised_rate_reduction_gradient(Z, classes, eps=eps, lam=lam),
    )


for function in (all_derivatives, all_gradients, all_values, membership):  # one compilation each, not one per operator
    lazy_xp_function(function)


def reference(Z, Pi, eps):
    count, dim = Z.shape
    total = rate(Z, dim / (count * eps**2))
    parts = [
        n / count * rate(np.sqrt(p)[:, None] * Z, dim / (n * eps**2)) for p, n in zip(Pi.T, Pi.sum(0), strict=True) if n
    ]
    return total, sum(parts)


def test_single_values_by_hand():
    assert math.isclose(coding_rate(np.eye(3), eps=1.0), 1.5 * math.log(2), rel_tol=1e-15)
    two = rate_reduction(np.eye(2), (1, 1), eps=0.5)
    assert math.isclose(two, math.log(5) - 0.5 * math.log(9), rel_tol=1e-14)


def ways(xp, Z, labels, sizes):
    """The same instance with labels, membership and block sizes: (rows, classes, permutation of the rows)."""
    order = np.argsort(labels, kind="stable")
    Pi = membership(xp.asarray(labels), len(sizes), dtype=xp.float64)
    everything = slice(None)
    return [(xp.asarray(Z), labels, everything), (xp.asarray(Z), Pi, everything), (xp.asarray(Z[order]), sizes, order)]


@pytest.mark.parametrize("shape", SHAPES)
def test_values_agree_with_eigenvalues_in_every_library(xp, shape):
    Z, labels, sizes = instance(shape)
    total, parts = reference(Z, membership(labels, len(sizes)), EPS)
    expected = [total, parts, total - parts, total - parts - LAM / 2 * (Z**2).sum()]
    for X, classes, _ in ways(xp, Z, labels, sizes):
        for spectral in (False, True):
            for value, right in zip(all_values(X, classes, eps=EPS, spectral=spectral), expected, strict=True):
                assert_close(value, xp.asarray(right), rtol=1e-12, check_scalar=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives_agree_across_libraries_and_ways_to_give_classes(xp, shape):
    Z, labels, sizes = instance(shape)
    E = np.random.default_rng(6).standard_normal(Z.shape)
    value, *expected = all_derivatives(Z, E, labels, eps=EPS, lam=LAM)
    for X, classes, order in ways(xp, Z, labels, sizes):
        F, *results = all_derivatives(X, xp.asarray(E[order]), classes, eps=EPS, lam=LAM)
        assert_close(F, xp.asarray(value), rtol=1e-12, check_scalar=False)
        for result, right in zip(results, expected, strict=True):
            assert_close(result, xp.asarray(right[order]), rtol=1e-9, atol=1e-11)
        whole, parts, reduction, regularised = all_gradients(X, classes, eps=EPS, lam=LAM)
        assert_close(reduction, whole - parts, rtol=1e-10, atol=1e-12)
        assert_close(regularised, reduction - LAM * X, rtol=1e-10, atol=1e-12)
        assert_close(regularised, results[0], rtol=1e-13)


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("shape", ["tall", "wide", "mixed"])
def test_closed_forms_equal_automatic_differentiation_in_jax(shape, kind):
    jax = pytest.importorskip("jax")
    Z, labels, sizes = instance(shape)
    rng = np.random.default_rng(7)
    E = jax.numpy.asarray(rng.standard_normal(Z.shape))
    Z = jax.numpy.asarray(Z)
    Pi = jax.numpy.asarray(soft(rng, len(labels), len(sizes)) if kind == "soft" else membership(labels, len(sizes)))
    classes = Pi if kind == "soft" else labels

    def objective(Z):
        return regularised_rate_reduction(Z, classes, eps=EPS, lam=LAM)

    @jax.jit
    def automatic(Z, E, Pi):
        slope, curvature = jax.jvp(jax.grad(objective), (Z,), (E,))
        return slope, curvature, jax.grad(lambda Pi: class_coding_rate(Z, Pi, eps=EPS))(Pi)

    @jax.jit
    def closed(Z, E, Pi):
        slope, of_closed_form = jax.jvp(lambda Z: value_and_gradient(Z, classes, eps=EPS, lam=LAM)[1], (Z,), (E,))
        curvature = hessian_vector_product(Z, E, classes, eps=EPS, lam=LAM)
        return slope, curvature, membership_gradient(Z, Pi, eps=EPS), of_closed_form

    slope, curvature, sensitivity, of_closed_form = closed(Z, E, Pi)
    expected_slope, expected_curvature, expected_sensitivity = automatic(Z, E, Pi)
    alpha = Z.shape[1] / (Z.shape[0] * EPS**2)
    spread = float(np.linalg.norm(Z, 2))
    np.testing.assert_allclose(slope, expected_slope, rtol=0, atol=1e3 * 2.2e-16 * alpha * spread)
    # n_k >= 2 here, so the class matrices have condition numbers up to 1 + alpha N / 2 |Z|^2.
    slack = 1e3 * 2.2e-16 * (1 + alpha * len(labels) / 2 * spread**2) * alpha * float(np.linalg.norm(E))
    np.testing.assert_allclose(curvature, expected_curvature, rtol=0, atol=slack)
    np.testing.assert_allclose(curvature, of_closed_form, rtol=0, atol=slack)
    np.testing.assert_allclose(sensitivity, expected_sensitivity, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("shape", SHAPES)
def test_closed_forms_equal_automatic_differentiation_in_torch(shape, kind):
    torch = pytest.importorskip("torch")
    Z, labels, sizes = instance(shape)
    Pi = soft(np.random.default_rng(7), len(labels), len(sizes)) if kind == "soft" else membership(labels, len(sizes))
    Z = torch.tensor(Z, requires_grad=True)
    Pi = torch.tensor(Pi, requires_grad=True)
    classes = Pi if kind == "soft" else torch.asarray(labels)
    regularised_rate_reduction(Z, classes, eps=EPS, lam=LAM).backward()
    expected = value_and_gradient(Z.detach(), classes, eps=EPS, lam=LAM)[1]
    torch.testing.assert_close(Z.grad, expected.detach(), rtol=1e-10, atol=1e-12)
    automatic = torch.autograd.grad(class_coding_rate(Z, Pi, eps=EPS), Pi)[0]
    torch.testing.assert_close(automatic, membership_gradient(Z, Pi, eps=EPS).detach(), rtol=1e-9, atol=1e-11)


def test_gradient_by_differences_that_share_no_code(rng):
    Z, labels, sizes = instance("mixed")
    Pi = soft(rng, len(labels), len(sizes))
    E = rng.standard_normal(Z.shape)
    step = 1e-3
    ladder = [(-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12)]
    slope = sum(w * np.subtract(*reference(Z + k * step * E, Pi, EPS)) for k, w in ladder) / step
    assert math.isclose((rate_reduction_gradient(Z, Pi, eps=EPS) * E).sum(), slope, rel_tol=1e-9)


def test_the_prefactor_of_the_class_gradient_is_alpha_not_that_of_the_class():
    """A control: with c / n_k in place of c / N the formula must miss."""
    Z, labels = instance("tall")[0][:8], np.repeat([0, 1], [5, 3])
    count, dim = Z.shape
    A = [
        np.linalg.inv(np.eye(dim) + dim / (n * EPS**2) * Z[labels == k].T @ Z[labels == k]) for k, n in ((0, 5), (1, 3))
    ]
    right = np.concatenate([dim / (count * EPS**2) * Z[labels == k] @ A[k] for k in (0, 1)])
    wrong = np.concatenate([dim / (n * EPS**2) * Z[labels == k] @ A[k] for k, n in ((0, 5), (1, 3))])
    gradient = class_coding_rate_gradient(Z, labels, eps=EPS)
    assert np.abs(gradient - right).max() < 1e-13
    assert np.abs(gradient - wrong).max() > 0.1


@pytest.mark.parametrize("kind", ["sizes", "labels", "membership"])
@pytest.mark.parametrize("shape", ["tall", "wide", "mixed"])
def test_batch_axes_of_features_eps_and_lam(xp, rng, shape, kind):
    dim, sizes = SHAPES[shape]
    count = sum(sizes)
    Z, E = rng.standard_normal((2, 3, 1, count, dim))
    eps, lam = np.asarray([0.3, 0.7]), np.asarray([0.0, 0.2])
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    classes = {"sizes": sizes, "labels": labels, "membership": soft(rng, count, len(sizes))}[kind]
    given = xp.asarray(classes) if kind == "membership" else classes
    levels = {"eps": xp.asarray(eps), "lam": xp.asarray(lam)}
    value, gradient, curvature, sensitivity = all_derivatives(xp.asarray(Z), xp.asarray(E), given, **levels)
    assert value.shape == (3, 2)
    assert gradient.shape == curvature.shape == (3, 2, count, dim)
    assert sensitivity.shape == (3, 2, count, len(sizes))
    assert regularised_rate_reduction(Z, classes, eps=eps, lam=lam).shape == (3, 2)
    for i in range(3):
        for j in range(2):
            one = {"eps": float(eps[j]), "lam": float(lam[j])}
            expected = all_derivatives(np.asarray(Z[i, 0]), E[i, 0], classes, **one)
            for result, right in zip((value, gradient, curvature, sensitivity), expected, strict=True):
                np.testing.assert_allclose(to_numpy(result[i, j, ...]), right, rtol=1e-9, atol=1e-10)


def test_batched_membership(xp, rng):
    Z = rng.standard_normal((9, 4))
    Pi = np.stack([soft(rng, 9, 3) for _ in range(2)])
    values = all_values(xp.asarray(Z), xp.asarray(Pi), eps=EPS)[2]
    expected = [np.subtract(*reference(Z, p, EPS)) for p in Pi]
    np.testing.assert_allclose(to_numpy(values), expected, rtol=1e-11)


def test_membership_in_several_chunks(rng, monkeypatch):
    from lab.objectives.coding_rate import rates

    Z, Pi = rng.standard_normal((9, 4)), soft(rng, 9, 5)
    E = rng.standard_normal(Z.shape)

    expected = all_derivatives(Z, E, Pi, eps=EPS, lam=LAM)
    monkeypatch.setattr(rates, "_CHUNK", 2 * Z.size)
    for chunked, whole in zip(all_derivatives(Z, E, Pi, eps=EPS, lam=LAM), expected, strict=True):
        np.testing.assert_allclose(chunked, whole, rtol=1e-12, atol=1e-14)


def test_vmap_and_jit_with_traced_levels():
    jax = pytest.importorskip("jax")
    Z, labels, _ = instance("mixed")
    Zs = jax.numpy.stack([jax.numpy.asarray(Z), 2.0 * Z])
    eps = jax.numpy.asarray([0.3, 0.6])

    def both(Z, eps):
        return value_and_gradient(Z, labels, eps=eps, lam=eps / 10)

    value, gradient = jax.jit(jax.vmap(both))(Zs, eps)
    for i in range(2):
        F, G = value_and_gradient(np.asarray(Zs[i]), labels, eps=float(eps[i]), lam=float(eps[i] / 10))
        np.testing.assert_allclose(value[i], F, rtol=1e-12)
        np.testing.assert_allclose(gradient[i], G, rtol=1e-10, atol=1e-12)
    slope = jax.grad(lambda eps: coding_rate(Zs[0], eps=eps))(0.3)
    difference = (coding_rate(Z, eps=0.3 + 1e-5) - coding_rate(Z, eps=0.3 - 1e-5)) / 2e-5
    assert math.isclose(slope, difference, rel_tol=1e-8)


def test_torch_function_transforms():
    torch = pytest.importorskip("torch")
    Z, labels, _ = instance("mixed")
    Zs = torch.stack([torch.tensor(Z), 2 * torch.tensor(Z)])

    def objective(Z):
        return rate_reduction(Z, labels, eps=EPS)

    gradient = torch.func.vmap(torch.func.grad(objective))(Zs)
    torch.testing.assert_close(gradient, rate_reduction_gradient(Zs, labels, eps=EPS), rtol=1e-10, atol=1e-12)
    closed = torch.func.vmap(lambda Z: rate_reduction_gradient(Z, labels, eps=EPS))(Zs)
    torch.testing.assert_close(gradient, closed, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_an_empty_class_is_silent_under_automatic_differentiation(shape):
    jax = pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    Z, labels, sizes = instance(shape)
    K = len(sizes) + 1
    Pi = membership(labels, K, dtype=np.float64)
    expected = rate_reduction(Z, labels, eps=EPS)

    def objective(Z, Pi):
        return rate_reduction(Z, Pi, eps=EPS)

    value, gradients = jax.value_and_grad(objective, argnums=(0, 1))(jax.numpy.asarray(Z), jax.numpy.asarray(Pi))
    assert math.isclose(value, expected, rel_tol=1e-12)
    Zt, Pt = torch.tensor(Z, requires_grad=True), torch.tensor(Pi, requires_grad=True)
    objective(Zt, Pt).backward()
    for over_Z, over_Pi in [gradients, (Zt.grad, Pt.grad)]:
        np.testing.assert_allclose(over_Z, rate_reduction_gradient(Z, labels, eps=EPS), rtol=1e-10, atol=1e-12)
        assert np.isfinite(np.asarray(over_Pi)).all()
        assert (np.asarray(over_Pi)[:, -1] == 0).all()
    assert (membership_gradient(Z, Pi, eps=EPS)[:, -1] == 0).all()
    assert np.isfinite(hessian_vector_product(Z, Z, Pi, eps=EPS, lam=LAM)).all()


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_float32_in_float32_out(xp, shape):
    Z, labels, sizes = instance(shape)
    X = xp.asarray(Z.astype(np.float32))
    Pi = xp.asarray(membership(labels, len(sizes), dtype=np.float64))
    for classes in (labels, Pi):
        results = all_derivatives(X, X, classes, eps=EPS, lam=LAM)
        assert {result.dtype for result in results} == {X.dtype}
        value, gradient = results[:2]
        exact, slope = value_and_gradient(Z, labels, eps=EPS, lam=LAM)
        np.testing.assert_allclose(to_numpy(value), exact, rtol=1e-4)
        np.testing.assert_allclose(to_numpy(gradient), slope, rtol=0, atol=1e-3)
        assert all_values(X, classes, eps=EPS, spectral=True)[3].dtype == X.dtype


def test_spectral_values_stay_accurate_at_extreme_eps(rng):
    # Orthogonal classes of rank 1: Delta R = log(1 + u) - log(1 + 2u) / 2 with u = c / 2.
    Z = np.zeros((4, 3))
    Z[:2, 0] = Z[2:, 1] = 1.0
    # c is 3e14 (rank deficient: the Cholesky form loses the identity's digits) and 3e-12 (the difference is of order
    # c^2).
    for eps, tolerance in [(1e-7, 1e-13), (1e6, 1e-3)]:
        u = 3 / eps**2 / 2
        exact = math.log1p(u * u / (1 + 2 * u)) / 2
        assert math.isclose(rate_reduction(Z, (2, 2), eps=eps, spectral=True), exact, rel_tol=tolerance)


def test_eps_too_small_for_the_precision_is_an_error():
    Z = np.outer(np.arange(1.0, 40.0), np.arange(1.0, 8.0)).astype(np.float32) / 3
    with pytest.raises(ValueError, match=r"eps is so small .* float32"):
        rate_reduction(Z, (20, 19), eps=1e-9)
    assert np.isfinite(rate_reduction(Z, (20, 19), eps=1e-9, spectral=True))


Z0 = np.ones((4, 3))
HALF = np.full((4, 2), 0.5)
BAD = {
    "NaN": (lambda: coding_rate(np.full((4, 3), np.nan), eps=1.0), "NaN or infinite"),
    "one axis": (lambda: coding_rate(np.ones(3), eps=1.0), "samples are rows"),
    "no rows": (lambda: coding_rate(np.ones((0, 3)), eps=1.0), "N, d >= 1"),
    "integers": (lambda: coding_rate(np.ones((4, 3), dtype=int), eps=1.0), "dtype int64"),
    "eps zero": (lambda: coding_rate(Z0, eps=0), "eps=0.0 must be finite and > 0"),
    "eps NaN": (lambda: coding_rate(Z0, eps=math.nan), "eps=nan must be"),
    "eps array": (lambda: coding_rate(Z0, eps=np.asarray([1.0, -2.0])), "eps runs from -2 to 1"),
    "eps shape": (lambda: coding_rate(np.ones((5, 4, 3)), eps=np.ones(2)), "must broadcast"),
    "lam": (lambda: regularised_rate_reduction(Z0, (2, 2), eps=1.0, lam=-1.0), "lam=-1.0 must be finite and >= 0"),
    "sizes": (lambda: rate_reduction(Z0, (2, 3), eps=1.0), "add up to the number of rows, N=4"),
    "negative size": (lambda: rate_reduction(Z0, (5, -1), eps=1.0), "non-negative"),
    "label count": (lambda: rate_reduction(Z0, np.zeros(3, dtype=int), eps=1.0), "3 labels but N=4"),
    "label sign": (lambda: rate_reduction(Z0, np.asarray([0, 0, -1, 1]), eps=1.0), "from -1 to 1"),
    "label size": (lambda: rate_reduction(Z0, np.asarray([0, 0, 1, 10**9]), eps=1.0), "relabel"),
    "float labels": (lambda: rate_reduction(Z0, np.zeros(4), eps=1.0), "must be integers"),
    "rows sum": (lambda: rate_reduction(Z0, HALF * 1.01, eps=1.0), "rows sum to 1"),
    "negative": (lambda: rate_reduction(Z0, HALF + np.asarray([0.6, -0.6]), eps=1.0), "smallest entry -0.1"),
    "NaN weights": (lambda: rate_reduction(Z0, HALF * np.nan, eps=1.0), "rows sum to 1"),
    "membership rows": (lambda: rate_reduction(Z0, HALF[:3], eps=1.0), r"must be \(..., N, K\) with N=4"),
    "direction": (lambda: hessian_vector_product(Z0, Z0[:3], (4,), eps=1.0, lam=0.0), "E ends in shape"),
    "one-hot range": (lambda: membership(np.asarray([0, 3]), 3), "from 0 to 3"),
    "one-hot floats": (lambda: membership(np.asarray([0.0]), 3), "must be integers"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_sentence(case):
    call, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence):
        call()


def test_wrong_kinds_are_type_errors():
    torch = pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    with pytest.raises(TypeError, match=r"numpy.asarray\(labels\)"):
        rate_reduction(Z0, [0, 0, 1, 1], eps=1.0)
    with pytest.raises(TypeError, match="arrays of one library"):
        rate_reduction(Z0, torch.asarray(HALF), eps=1.0)
    with pytest.raises(TypeError, match="eps is a str"):
        coding_rate(Z0, eps="1")
    with pytest.raises(TypeError, match="a tuple of class sizes, or membership"):
        jax.jit(lambda labels: rate_reduction(jax.numpy.asarray(Z0), labels, eps=1.0))(jax.numpy.asarray([0, 0, 1, 1]))


def test_membership_is_one_hot(xp):
    labels = xp.asarray([2, 0])
    result = membership(labels, 3, dtype=xp.float64)
    assert_close(result, xp.asarray([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=xp.float64))
