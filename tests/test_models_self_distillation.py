"""Views, the SimDINO loss in every library, the linear model on NumPy and JAX, and the torch modules."""

import math
import pickle

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function

from lab.data.views import two_view_linear, two_view_linear_jax
from lab.errors import InputError
from lab.models.self_distillation import (
    alignment,
    expansion,
    linear_distillation,
    linear_gradient,
    linear_step,
    normalised_pullback,
    simdino_gradient,
    simdino_loss,
    unit_rows,
)

lazy_xp_function(simdino_loss)
lazy_xp_function(simdino_gradient)

EPS = np.finfo(float).eps


def moments(rng, dim=3):
    factors = rng.standard_normal((2, dim, dim))
    return tuple(A @ A.T for A in factors)


def features(rng, views=4, seen=2, n=7, dim=3, batch=()):
    student, teacher = rng.standard_normal((2, *batch, views, n, dim))
    return unit_rows(student), unit_rows(teacher[..., :seen, :, :])


# ---------------------------------------------------------------- views


@pytest.mark.parametrize("symmetric", [False, True])
def test_exact_views_have_the_moments_of_the_population(rng, symmetric):
    signal, noise = moments(rng)
    views = two_view_linear(rng, signal=signal, noise=noise, n=48, views=3, exact=True, symmetric=symmetric)
    size = np.abs(signal).max() + np.abs(noise).max()
    for v in range(3):
        for w in range(3):
            expected = signal + noise if v == w else signal
            assert np.abs(views.x[v].T @ views.x[w] / 48 - expected).max() < 50 * EPS * size
    assert np.abs(views.s.T @ views.s / 48 - signal).max() < 50 * EPS * size
    assert np.abs(views.x.mean(axis=1)).max() < 50 * EPS * math.sqrt(size)
    third = np.einsum("ni,nj,nk->ijk", *[views.x[0]] * 3) / 48
    assert (np.abs(third).max() < 1e-12 * size**1.5) == symmetric


def test_drawn_views_approach_the_moments_at_the_rate_of_sampling(rng):
    signal, noise = moments(rng)
    errors = []
    for n in (400, 6400):
        x = two_view_linear(rng, signal=signal, noise=noise, n=n).x
        errors.append(np.linalg.norm(x[0].T @ x[1] / n - signal) / np.linalg.norm(signal + noise))
    # relative error of a cross moment is about (d/n)^(1/2): at most 10 times that, whatever the seed
    assert errors[0] < 10 * math.sqrt(3 / 400)
    assert errors[1] < 10 * math.sqrt(3 / 6400)


def test_views_in_jax_under_jit_and_vmap_with_traced_moments(rng):
    jax = pytest.importorskip("jax")
    signal, noise = moments(rng)

    def one(key, scale):
        return two_view_linear_jax(key, signal=scale * signal, noise=scale * noise, n=20, exact=True).x

    keys, scales = jax.random.split(jax.random.key(0), 3), np.asarray([1.0, 2.0, 3.0])
    x = np.asarray(jax.jit(jax.vmap(one))(keys, scales))
    for k, scale in enumerate(scales):
        assert np.abs(x[k, 0].T @ x[k, 1] / 20 - scale * signal).max() < 1e-12 * scale * np.abs(signal).max()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"n": 9, "exact": True}, "n >= 10"),
        ({"n": 11, "symmetric": True}, "even"),
        ({"noise": -np.eye(3)}, "semidefinite"),
        ({"noise": np.triu(np.ones((3, 3)))}, "symmetric"),
        ({"noise": np.eye(2)}, "same D"),
        ({"views": 0}, "at least 1"),
    ],
)
def test_views_refuse_bad_input(rng, changes, word):
    settings = {"signal": np.eye(3), "noise": np.eye(3), "n": 20, **changes}
    with pytest.raises(InputError, match=word):
        two_view_linear(rng, **settings)


# ---------------------------------------------------------------- the loss


@pytest.mark.parametrize("of", ["student", "mean"])
@pytest.mark.parametrize("centred", [False, True])
def test_loss_is_its_definition_in_every_library(xp, rng, of, centred):
    student, teacher = features(rng)
    total, pairs = 0.0, 0
    for g in range(2):
        for v in range(4):
            if v != g:
                total += 0.5 * np.mean(np.sum((student[v] - teacher[g]) ** 2, axis=1))
                pairs += 1
    rates = []
    for g in range(2):
        Z = student[g] if of == "student" else (student[g] + teacher[g]) / 2
        Z = Z - Z.mean(0) if centred else Z
        rates.append(0.5 * np.linalg.slogdet(np.eye(3) + 3 / (7 * 0.4**2) * Z.T @ Z)[1])
    expected = total / pairs - 0.3 * np.mean(rates)
    found = simdino_loss(xp.asarray(student), xp.asarray(teacher), eps=0.4, gamma=0.3, of=of, centred=centred)
    assert_close(found, xp.asarray(expected)[()], rtol=1e-13)


@pytest.mark.parametrize("of", ["student", "mean"])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("pairs", ["cross", "all"])
def test_gradient_is_that_of_autodiff(rng, of, centred, pairs):
    torch = pytest.importorskip("torch")
    student, teacher = features(rng)
    options = {"eps": 0.4, "gamma": 0.3, "of": of, "centred": centred, "pairs": pairs}
    Z = torch.tensor(student, requires_grad=True)
    simdino_loss(Z, torch.tensor(teacher), **options).backward()
    found = simdino_gradient(student, teacher, **options)
    assert np.abs(found - Z.grad.numpy()).max() < 1e3 * EPS


def test_gradient_in_every_library_and_over_batches(xp, rng):
    student, teacher = features(rng, batch=(5,))
    eps, gamma = np.linspace(0.3, 0.7, 5), np.linspace(0.1, 0.5, 5)
    arrays = [xp.asarray(a) for a in (student, teacher, eps, gamma)]
    found = simdino_gradient(arrays[0], arrays[1], eps=arrays[2], gamma=arrays[3])
    single = [simdino_gradient(*one[:2], eps=float(one[2]), gamma=float(one[3]))
              for one in zip(student, teacher, eps, gamma, strict=True)]
    assert_close(found, xp.asarray(np.stack(single)), rtol=1e-12, atol=1e-15)


def test_loss_terms_of_known_features():
    frame = np.stack([np.eye(4)] * 3)
    assert alignment(frame, frame[:2]) == 0
    assert float(expansion(frame, frame[:1], eps=1.0)) == pytest.approx(2 * math.log(2))
    opposite = np.stack([np.eye(4), -np.eye(4)])
    assert float(alignment(opposite, opposite)) == pytest.approx(2)  # cosine -1
    assert float(alignment(opposite, opposite, pairs="all")) == pytest.approx(1)


@pytest.mark.parametrize(
    ("student", "teacher", "options", "word"),
    [
        (np.ones((1, 3, 2)), np.ones((1, 3, 2)), {}, "second view"),
        (np.ones((2, 3, 2)), np.ones((3, 3, 2)), {}, "first of them"),
        (np.ones((2, 3, 2)), np.ones((2, 4, 2)), {}, "same N"),
        (np.ones((2, 3, 2)), np.ones((2, 3, 2)), {"pairs": "same"}, "pairs"),
        (np.ones((2, 3, 2)), np.ones((2, 3, 2)), {"of": "teacher"}, "of="),
    ],
)
def test_loss_refuses_bad_input(student, teacher, options, word):
    with pytest.raises(InputError, match=word):
        simdino_loss(student, teacher, eps=0.5, gamma=0.1, **options)


def test_pullback_is_the_derivative_of_normalisation(rng):
    Y, weights, E = rng.standard_normal((3, 6, 4))
    ahead, behind = (np.sum(weights * unit_rows(Y + h * E)) for h in (1e-6, -1e-6))
    assert np.sum(E * normalised_pullback(Y, weights)) == pytest.approx((ahead - behind) / 2e-6, rel=1e-8)


# ---------------------------------------------------------------- the linear model


@pytest.mark.parametrize("of", ["student", "mean"])
def test_population_gradient_is_that_of_samples_with_exact_moments(rng, of):
    signal, noise = moments(rng)
    X = two_view_linear(rng, signal=signal, noise=noise, n=40, exact=True).x
    student, teacher = rng.standard_normal((2, 3, 2))
    features = X @ student, X @ teacher
    samples = np.sum(X.mT @ simdino_gradient(*features, eps=0.5, gamma=0.3, of=of), axis=0)
    population = linear_gradient(
        student, teacher, moment=signal + noise, cross=signal, eps=0.5, gamma=0.3, of=of
    )  # fmt: skip
    assert np.abs(samples - population).max() < 1e-12 * np.abs(population).max()


def test_without_stop_gradient_the_gradient_is_that_of_the_tied_loss(rng):
    torch = pytest.importorskip("torch")
    signal, noise = moments(rng)
    X = two_view_linear(rng, signal=signal, noise=noise, n=40, exact=True).x
    start = rng.standard_normal((3, 2))
    W = torch.tensor(start, requires_grad=True)
    Z = torch.tensor(X) @ W
    simdino_loss(Z, Z, eps=0.5, gamma=0.3).backward()  # nothing detached
    found = linear_gradient(start, start, moment=signal + noise, cross=signal, eps=0.5, gamma=0.3, leak=1.0)
    assert np.abs(found - W.grad.numpy()).max() < 1e-12 * np.abs(found).max()


def test_a_step_is_the_gradient_in_the_metric_of_the_data(rng):
    signal, noise = moments(rng)
    C = signal + noise
    student, teacher = rng.standard_normal((2, 3, 2))
    options = {"eps": 0.5, "gamma": 0.3}
    moved, averaged = linear_step(
        student, teacher, moment=C, pull=np.linalg.solve(C, signal), momentum=0.8, step=0.4, **options
    )  # fmt: skip
    gradient = linear_gradient(student, teacher, moment=C, cross=signal, **options)
    assert np.abs(moved - (student - 0.4 * np.linalg.solve(C, gradient))).max() < 1e-12
    assert np.abs(averaged - (0.8 * teacher + 0.2 * moved)).max() < 1e-15


def test_numpy_and_jax_train_alike_and_batches_like_single_runs(rng):
    jax = pytest.importorskip("jax")
    signal, noise = np.diag([0.7, 0.5, 0.3]), np.diag([0.3, 0.5, 0.7])
    starts, gamma, momentum = rng.standard_normal((4, 3, 2)), np.array([0.02, 0.05, 0.1, 0.2]), np.array([0, 0.5] * 2)
    options = {"eps": 0.5, "tolerance": 1e-10}
    here = linear_distillation(
        starts, moment=signal + noise, cross=signal, gamma=gamma, momentum=momentum, **options
    )  # fmt: skip
    run = jax.jit(lambda s, g, m: linear_distillation(
        s, moment=jax.numpy.asarray(signal + noise), cross=jax.numpy.asarray(signal), gamma=g, momentum=m, **options
    ))  # fmt: skip
    there = run(starts, gamma, momentum)
    assert int(there.steps) == here.steps
    assert np.abs(np.asarray(there.student) - here.student).max() < 1e-12
    assert (here.change <= 1e-10).all()
    alone = linear_distillation(
        starts[2], moment=signal + noise, cross=signal, gamma=gamma[2], momentum=momentum[2], **options
    )  # fmt: skip
    assert np.abs(alone.student - here.student[2]).max() < 1e-8  # stopped earlier, both within tolerance/rate


def test_training_stops_at_max_steps_and_refuses_none():
    options = {"moment": np.eye(2), "cross": 0.5 * np.eye(2), "eps": 0.5, "gamma": 0.05, "momentum": 0.9}
    end = linear_distillation(np.ones((2, 1)), tolerance=0.0, max_steps=130, check_every=64, **options)
    assert end.steps == 192
    with pytest.raises(InputError, match="at least 1"):
        linear_distillation(np.ones((2, 1)), max_steps=0, **options)


# ---------------------------------------------------------------- torch modules


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch


def test_loss_module_is_the_function_with_the_teacher_detached(torch, rng):
    from lab.models.torch_simdino import SimDINOLoss

    student, teacher = (torch.tensor(a, requires_grad=True) for a in features(rng))
    loss = SimDINOLoss(eps=0.4, gamma=0.3, of="mean")(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(
        float(simdino_loss(student.detach().numpy(), teacher.detach().numpy(), eps=0.4, gamma=0.3, of="mean"))
    )
    assert teacher.grad is None
    assert student.grad.abs().max() > 0
    default = SimDINOLoss(eps=0.4)(student, teacher)
    align, rate = SimDINOLoss(eps=0.4).terms(student, teacher)
    assert default.item() == pytest.approx((align - (3 + 7) / (3 * 7) * rate).item())


def test_teacher_is_the_average_of_the_student(torch):
    from lab.models.torch_simdino import AffineEncoder, SelfDistillation, SimDINOLoss

    model, loss = SelfDistillation(AffineEncoder(3, 4, scale=0.3).double(), momentum=0.9), SimDINOLoss(eps=0.5)
    views = torch.randn(3, 16, 3, dtype=torch.float64)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    average = model.student.weight.detach().clone()
    for _ in range(3):
        optimiser.zero_grad()
        loss(*model(views, seen=2)).backward()
        optimiser.step()
        model.update_teacher()
        average = 0.9 * average + 0.1 * model.student.weight.detach()
    assert torch.allclose(model.teacher.weight, average, atol=1e-15)
    assert all(p.grad is None for p in model.teacher.parameters())
    student, teacher = model(views, seen=2)
    assert student.shape == (3, 16, 4)
    assert teacher.shape == (2, 16, 4)
    assert torch.allclose(student.norm(dim=-1), torch.ones(3, 16, dtype=torch.float64))
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(views)[0], student)


def test_torch_training_step_is_that_of_the_laws(torch, rng):
    from lab.models.torch_simdino import AffineEncoder, SelfDistillation, SimDINOLoss
    from lab.systems.simdino.dynamics import affine_step

    X = two_view_linear(rng, signal=0.6 * np.eye(2), noise=0.4 * np.eye(2), n=12, exact=True).x
    model = SelfDistillation(AffineEncoder(2, 3, scale=0.5).double(), momentum=0.7)
    model.update_teacher(0.0)
    with torch.no_grad():
        model.student.weight.add_(torch.randn(2, 3))
    weights = [m.weight.detach().numpy().copy() for m in (model.student, model.teacher)]
    optimiser = torch.optim.SGD(model.student.parameters(), lr=0.2)
    SimDINOLoss(eps=0.8, gamma=0.1, of="mean")(*model(torch.tensor(X))).backward()
    optimiser.step()
    model.update_teacher()
    bias = model.student.bias.numpy()
    moved, averaged = affine_step(*weights, X, bias, eps=0.8, gamma=0.1, momentum=0.7, step=0.2, of="mean")
    assert np.abs(moved - model.student.weight.detach().numpy()).max() < 1e-13
    assert np.abs(averaged - model.teacher.weight.detach().numpy()).max() < 1e-13


def test_torch_modules_refuse_bad_input(torch):
    from lab.models.torch_simdino import AffineEncoder, SelfDistillation, SimDINOLoss

    with pytest.raises(InputError, match="positive"):
        SimDINOLoss(eps=0.0)
    with pytest.raises(InputError, match="momentum"):
        SelfDistillation(AffineEncoder(2, 3), momentum=1.0)
