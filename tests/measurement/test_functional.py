import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faeval.core.errors import InputError
from faeval.measurement.functional import (
    nudge,
    perturbation_correlation,
    update_alignment,
)

N, D = 6, 5


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def generator(seed=7):
    return torch.Generator().manual_seed(seed)


class Quadratic:
    """ℓ_n(h) = ⟨b_n, h_n⟩ + ½ h_nᵀ H h_n, with gradient and Hessian at hand."""

    def __init__(self, n=N, d=D, curvature=1.0):
        self.b = draw(n, d, seed=1)
        root = draw(d, d, seed=2)
        self.H = curvature * (root + root.T) / 2

    def __call__(self, h):
        return (self.b * h).sum(1) + 0.5 * ((h @ self.H) * h).sum(1)

    def gradient(self, h):
        return self.b + h @ self.H


def rho(p, t):
    """The definition, one product at a time."""
    p, t = p.flatten().tolist(), t.flatten().tolist()
    dot = sum(x * y for x, y in zip(p, t, strict=True))
    return dot / math.sqrt(sum(x * x for x in p) * sum(y * y for y in t))


def twin(credit, change, directions, shape, **kwargs):
    """Predictions and changes over the same directions, and the jackknife by leaving rows out."""
    source = generator(**kwargs)
    vs = [torch.randn(shape, generator=source, dtype=torch.float64) for _ in range(directions)]
    p = torch.stack([(credit * v).flatten(1).sum(1) for v in vs])
    t = torch.stack([change(v) for v in vs])
    rest = [torch.arange(directions) != k for k in range(directions)]
    out = [rho(p[keep], t[keep]) for keep in rest]
    mean = sum(out) / directions
    error = math.sqrt((directions - 1) / directions * sum((x - mean) ** 2 for x in out))
    return rho(p, t), error


def test_correlation_of_a_quadratic_loss_is_the_literal_sum():
    tail, h, credit = Quadratic(), draw(N, D, seed=3), draw(N, D, seed=4)
    g = tail.gradient(h)
    reading = perturbation_correlation(
        tail, h, {"a": credit, "g": g}, generator=generator(), directions=9, step=0.1
    )
    expected, error = twin(credit, lambda v: (g * v).sum(1), 9, h.shape)
    assert reading["a"].exact == pytest.approx(expected, rel=1e-12)
    assert reading["a"].exact_stderr == pytest.approx(error, rel=1e-10)
    assert reading["a"].finite == pytest.approx(expected, rel=1e-10)  # even orders cancel
    assert reading["a"].finite_stderr == pytest.approx(error, rel=1e-8)
    assert reading["g"].exact == pytest.approx(1, abs=1e-14)
    assert reading["g"].exact_stderr == pytest.approx(0, abs=1e-12)
    assert (reading["a"].samples, reading["a"].excluded) == (N, 0)
    assert (reading["a"].directions, reading["a"].step) == (9, 0.1)


def test_a_step_ahead_alone_sees_the_curvature():
    """Literal sums, and for the gradient what the moments of a Gaussian direction say."""
    tail, h, credit, step = Quadratic(), draw(N, D, seed=3), draw(N, D, seed=4), 0.5
    g, H = tail.gradient(h), tail.H

    def change(v):  # ⟨g, v⟩ + ½ ε vᵀHv
        size = step * h.norm(dim=1) / v.norm(dim=1)
        return (g * v).sum(1) + 0.5 * size * ((v @ H) * v).sum(1)

    controls = {"a": credit, "g": g, "random": draw(N, D, seed=6)}
    few, many = (
        perturbation_correlation(tail, h, controls, generator=generator(), directions=k, step=step)
        for k in (9, 4000)
    )
    expected, error = twin(credit, change, 9, h.shape)
    assert few["a"].one_sided == pytest.approx(expected, rel=1e-10)
    assert few["a"].one_sided_stderr == pytest.approx(error, rel=1e-8)
    reach = step * h.norm(dim=1)
    trace, square = H.trace(), (H @ H).trace()
    curved = (reach / 2).square() * (2 * square + trace**2) / (D + 2)
    lost = (g.square().sum() / (g.square().sum() + curved.sum())).sqrt().item()
    for name, of in controls.items():
        cosine = ((of * g).sum() / (of.norm() * g.norm())).item()
        reading = many[name]
        assert abs(reading.one_sided - lost * cosine) < 4 * reading.one_sided_stderr
        assert reading.finite == pytest.approx(reading.exact, rel=1e-9)
    assert lost < 0.95


def test_without_curvature_one_side_is_enough():
    reading = perturbation_correlation(
        Quadratic(curvature=0.0), draw(N, D), {"a": draw(N, D, seed=4)}, generator=generator()
    )["a"]
    assert reading.one_sided == pytest.approx(reading.exact, rel=1e-9)


def test_finite_steps_see_the_third_order():
    h, step = draw(N, D, seed=3), 0.5

    def change(v):  # ((x+d)³ − (x−d)³) / 2 = 3x²d + d³
        size = step * h.norm(dim=1) / v.norm(dim=1)
        d = size[:, None] * v
        return (3 * h**2 * d + d**3).sum(1) / size

    g = 3 * h**2
    reading = perturbation_correlation(
        lambda x: (x**3).sum(1), h, {"g": g}, generator=generator(), directions=8, step=step
    )["g"]
    expected, error = twin(g, change, 8, h.shape)
    assert reading.exact == pytest.approx(1, abs=1e-14)
    assert reading.finite == pytest.approx(expected, rel=1e-12)
    assert reading.finite_stderr == pytest.approx(error, rel=1e-8)
    assert reading.finite < 0.999


def test_a_linear_tail_has_no_curvature_and_any_shape_will_do():
    b, h, credit = draw(4, 3, 2, 2), draw(4, 3, 2, 2, seed=1), draw(4, 3, 2, 2, seed=2)

    def tail(x):
        return (b * x).flatten(1).sum(1)

    reading = perturbation_correlation(tail, h, {"a": credit}, generator=generator(), step=1.0)["a"]
    assert reading.finite == pytest.approx(reading.exact, rel=1e-12)
    expected, _ = twin(credit, lambda v: (b * v).flatten(1).sum(1), 16, h.shape)
    assert reading.exact == pytest.approx(expected, rel=1e-12)


def test_rho_tends_to_the_norm_weighted_cosine_and_its_error_covers():
    tail, h = Quadratic(), draw(N, D, seed=3)
    g = tail.gradient(h)
    credit = g + draw(N, D, seed=5) * torch.logspace(-1, 1, N)[:, None]
    limit = ((credit * g).sum() / (credit.norm() * g.norm())).item()
    reading = perturbation_correlation(
        tail, h, {"a": credit, "random": draw(N, D, seed=6)}, generator=generator(), directions=250
    )
    assert abs(reading["a"].exact - limit) < 4 * reading["a"].exact_stderr < 0.25
    runs = [
        perturbation_correlation(
            tail, h, {"a": credit}, generator=generator(seed), directions=16
        )["a"]
        for seed in range(24)
    ]  # fmt: skip
    spread = torch.tensor([run.exact for run in runs]).std().item()
    told = sum(run.exact_stderr for run in runs) / len(runs)
    assert 0.6 < told / spread < 1.5


@given(power=st.integers(-120, 120), seed=st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_the_scale_of_a_credit_plays_no_part(power, seed):
    tail, h, credit = Quadratic(), draw(N, D, seed=3), draw(N, D, seed=seed)
    scaled = credit * 2.0 ** (8 * power)  # to 2^±960
    a = perturbation_correlation(
        tail, h, {"1": credit, "2": scaled}, generator=generator(), directions=3
    )
    assert a["1"] == a["2"]
    assert torch.equal(nudge(tail, h, credit).changes, nudge(tail, h, scaled).changes)


def test_samples_that_are_not_finite_are_excluded_from_all_sums():
    tail, h, credit = Quadratic(), draw(N, D, seed=3), draw(N, D, seed=4)
    keep = torch.tensor([0, 3, 4, 5])
    bad_h, bad_credit = h.clone(), credit.clone()
    bad_h[1, 0], bad_credit[2, 1] = math.nan, math.inf

    reading = perturbation_correlation(
        tail, bad_h, {"a": bad_credit}, generator=generator(), directions=5
    )["a"]
    g = tail.gradient(h)
    source = generator()
    vs = [torch.randn(N, D, generator=source, dtype=torch.float64)[keep] for _ in range(5)]
    p = torch.stack([(credit[keep] * v).sum(1) for v in vs])
    t = torch.stack([(g[keep] * v).sum(1) for v in vs])
    assert (reading.samples, reading.excluded) == (4, 2)
    assert reading.exact == pytest.approx(rho(p, t), rel=1e-12)
    assert reading.finite == pytest.approx(rho(p, t), rel=1e-9)


def test_nothing_predicted_or_nothing_left_is_nan():
    tail, h = Quadratic(), draw(N, D, seed=3)
    nothing = {"zero": torch.zeros(N, D), "nan": torch.full((N, D), math.nan)}
    reading = perturbation_correlation(tail, h, nothing, generator=generator(), directions=2)
    assert all(math.isnan(x.exact) and math.isnan(x.finite) for x in reading.values())
    assert (reading["zero"].excluded, reading["nan"].excluded) == (0, N)
    one = perturbation_correlation(tail, h, {"a": h}, generator=generator(), directions=1)["a"]
    assert math.isfinite(one.exact)
    assert math.isnan(one.exact_stderr)


@pytest.mark.parametrize("step", [1e-4, 1e-2, 0.5])
def test_nudge_is_taylor_to_second_order_on_a_quadratic_loss(step):
    tail, h, credit = Quadratic(), draw(N, D, seed=3), draw(N, D, seed=4)
    g = tail.gradient(h)
    eta = step * h.norm(dim=1)
    unit = credit / credit.norm(dim=1, keepdim=True)
    expected = -eta * (unit * g).sum(1) + 0.5 * eta**2 * ((unit @ tail.H) * unit).sum(1)
    reading = nudge(tail, h, credit, relative_step=step)
    torch.testing.assert_close(reading.changes, expected, rtol=1e-8, atol=1e-14)
    assert reading.change == pytest.approx(expected.mean().item(), rel=1e-8)
    assert reading.relative_step == step


def test_no_direction_goes_further_down_than_the_gradient():
    tail, h = Quadratic(curvature=0.1), draw(N, D, seed=3)
    best = nudge(tail, h, tail.gradient(h), relative_step=1e-4)
    assert best.change < 0
    for seed in range(10):
        other = nudge(tail, h, draw(N, D, seed=seed), relative_step=1e-4)
        assert (best.changes <= other.changes).all()


def test_nudge_counts_what_claims_no_direction():
    tail, h, credit = Quadratic(), draw(N, D, seed=3), draw(N, D, seed=4)
    whole = nudge(tail, h, credit)
    credit[0] = 0.0
    credit[1, 2] = math.nan
    h = h.clone()
    h[2, 0] = math.inf
    reading = nudge(tail, h, credit)
    assert (reading.zero, reading.non_finite) == (1, 2)
    assert reading.changes[:3].isnan().all()
    assert torch.equal(reading.changes[3:], whole.changes[3:])
    assert reading.change == pytest.approx(whole.changes[3:].mean().item())
    assert math.isnan(nudge(tail, h, torch.zeros(N, D)).change)


def test_update_alignment_is_one_cosine_over_all_parameters():
    a, b = [draw(3, 4), draw(5, seed=1)], [draw(3, 4, seed=2), draw(5, seed=3)]
    flat_a, flat_b = (torch.cat([x.flatten() for x in xs]) for xs in (a, b))
    expected = (flat_a @ flat_b / (flat_a.norm() * flat_b.norm())).item()
    reading = update_alignment(a, b)
    assert reading.cosine.tolist() == pytest.approx([expected], rel=1e-14)
    tiny = update_alignment([x * 2.0**-900 for x in a], b)
    assert torch.equal(tiny.cosine, reading.cosine)
    assert update_alignment([x.float() for x in a], b).cosine.item() == pytest.approx(
        expected, abs=1e-6
    )
    assert update_alignment([x * 0 for x in a], b).zero == 1
    for left, right in [([], []), (a, b[:1]), (a, b[::-1])]:
        with pytest.raises(InputError):
            update_alignment(left, right)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_measuring_leaves_no_trace(context):
    torch.random.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(D, 2)).double()

    def tail(x):
        return net(x).square().sum(1)

    h, credit = draw(N, D).requires_grad_(), draw(N, D, seed=1).requires_grad_()
    before = copy.deepcopy(net.state_dict()), h.detach().clone(), credit.detach().clone()
    random = torch.get_rng_state()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    kernels = torch.backends.cuda.flash_sdp_enabled()
    (g,) = torch.autograd.grad(tail(h.clone()).sum(), h)
    with context():
        controls = {"g": g, "a": credit}
        rho = perturbation_correlation(tail, h, controls, generator=generator(), directions=2)
        nudge(tail, h, credit)
        update_alignment([h], [credit])
    assert rho["g"].exact == pytest.approx(1, abs=1e-12)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.backends.mha.get_fastpath_enabled() == fast_path
    assert torch.backends.cuda.flash_sdp_enabled() == kernels
    assert torch.equal(h.detach(), before[1])
    assert torch.equal(credit.detach(), before[2])
    assert h.grad is None
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(x, before[0][k]) for k, x in net.state_dict().items())


def test_forward_mode_agrees_with_reverse_mode_through_attention():
    torch.random.manual_seed(0)
    block = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dtype=torch.float64).eval()
    h = draw(3, 5, 4).requires_grad_()

    def tail(x):
        return block(x).square().flatten(1)[:, ::3].sum(1)

    (g,) = torch.autograd.grad(tail(h).sum(), h)
    reading = perturbation_correlation(
        tail, h, {"g": g}, generator=generator(), directions=4, step=1e-4
    )["g"]
    assert reading.exact == pytest.approx(1, abs=1e-12)
    assert reading.finite == pytest.approx(1, abs=1e-6)


def test_single_precision_states_are_probed_in_double():
    tail, h = Quadratic(), draw(N, D, seed=3).float()
    credit = draw(N, D, seed=4)
    single = perturbation_correlation(tail, h, {"a": credit}, generator=generator())
    double = perturbation_correlation(tail, h.double(), {"a": credit}, generator=generator())
    assert single == double
    assert torch.equal(nudge(tail, h, credit).changes, nudge(tail, h.double(), credit).changes)


@pytest.mark.parametrize(
    "change",
    [{"directions": 0}, {"step": 0.0}, {"step": math.nan}, {"credits": {"a": torch.ones(N, 1)}}],
)
def test_wrong_arguments_are_told(change):
    arguments = {"credits": {"a": torch.ones(N, D)}, "generator": generator(), **change}
    with pytest.raises(InputError):
        perturbation_correlation(Quadratic(), draw(N, D), **arguments)


def test_a_tail_without_losses_per_sample_is_told():
    with pytest.raises(InputError, match="reduction"):
        nudge(lambda x: x.sum(), draw(N, D), draw(N, D))
    with pytest.raises(InputError, match="relative_step"):
        nudge(Quadratic(), draw(N, D), draw(N, D), relative_step=-1)
