"""Flows: exact inverses, log-determinants against autograd, and what each form of map can do."""

import pytest
import torch

import pyrogen
from pyrogen import fit
from pyrogen.errors import ConfigError
from pyrogen.explicit import MADE, Flow, MixtureLikelihood, Spline
from pyrogen.explicit.flow import autoregressive, coupling, multiscale
from pyrogen.explicit.transforms import Affine, Logit, Standardise
from pyrogen.random import scoped_seed
from pyrogen.recipes.flows import maf, realnvp, spline

MAPS = {"affine": Affine(), "shift": Affine(scale=False), "spline": Spline(5, 3.0)}
SHAPES = {
    "vector": ((5,), lambda shape, m: coupling(shape, 3, (16,), m)),
    "chain": ((5,), lambda shape, m: autoregressive(shape, 2, (16,), m)),
    "image": ((1, 8, 8), lambda shape, m: multiscale(shape, 2, 8, 1, m)),
    "colours": ((3, 4, 8), lambda shape, m: multiscale(shape, 2, 8, 1, m)),
    "odd": ((1, 5, 3), lambda shape, m: multiscale(shape, 2, 8, 1, m)),
    "logit": ((1, 2, 3), lambda shape, m: [Logit(), *coupling(shape, 2, (8,), m)]),
}


@pytest.fixture(params=sorted(MAPS))
def map(request):
    return MAPS[request.param]


@pytest.fixture(params=sorted(SHAPES))
def form(request):
    return request.param


def some(form, map, seed=0):
    shape, build = SHAPES[form]
    with scoped_seed(seed):
        model = Flow(shape, build(shape, map))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        x = torch.rand(6, *shape) if form == "logit" else 1.5 * torch.randn(6, *shape)
    return model, x


@torch.no_grad()
def test_inverse_is_exact(form, map):
    model, x = some(form, map)
    z = model.encode(x)
    assert z.shape == (6, x[0].numel())
    assert not torch.allclose(z, x.flatten(1), atol=0.01)
    assert torch.allclose(model.decode(z), x, atol=1e-4)
    noise = torch.randn_like(z)
    assert torch.allclose(model.encode(model.decode(noise)), noise, atol=1e-4 if form != "logit" else 1e-3)
    assert model.sample(3).shape == (3, *model.shape)


def test_log_det_is_that_of_the_jacobian(form, map):
    model, x = some(form, map)
    model, x = model.double(), x[:2].double()
    for one, expected in zip(x, model.chain(x)[1], strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: model.encode(v[None])[0], one)
        found = torch.linalg.slogdet(jacobian.view(x[0].numel(), -1))[1]
        assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_standardising_counts():
    scale = torch.tensor([2.0, 0.5, 4.0])
    model = Flow((3,), [Standardise(torch.ones(3), scale)])
    x = torch.randn(5, 3)
    assert torch.allclose(model.log_prob(x), torch.distributions.Normal(1.0, scale).log_prob(x).sum(1))
    assert torch.allclose(model.decode(model.encode(x)), x)


def test_without_scales_the_volume_is_kept():
    model, x = some("vector", MAPS["shift"])
    assert torch.equal(model.chain(x)[1], torch.zeros(6))


def test_flows_start_near_the_identity():
    x = torch.randn(6, 5)
    for maps in (coupling((5,), 4, (16,)), coupling((5,), 4, (16,), Spline(8))):
        assert torch.allclose(Flow((5,), maps).encode(x), x, atol=0.05)


def test_spline_is_smooth_monotone_and_invertible():
    bent = Spline(bins=7, bound=2.0)
    with scoped_seed(0):
        h = (1.5 * torch.randn(1, bent.outputs, 1)).double().expand(1, bent.outputs, 4001)
    x = torch.linspace(-3, 3, 4001).double()[None].requires_grad_()
    y, log_slope = bent.forward(x, h)
    assert bool((y.diff() > 0).all())
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(slope.log(), log_slope, atol=1e-8)
    assert slope.diff().abs().max() < 0.1 * slope.max()  # no jump at a knot
    outside = x.abs() >= 2
    assert torch.equal(y[outside], x[outside])
    assert torch.allclose(bent.inverse(y, h), x, atol=1e-9)
    single, bits = bent.forward(x.float(), h.float())
    assert torch.allclose(bent.inverse(single, h.float()), x.float(), atol=1e-4)
    assert bits.isfinite().all()


def test_coupling_keeps_what_it_is_conditioned_on():
    layer = coupling((6,), 1, (8,))[1]
    with torch.no_grad():
        layer.net[-1].weight.add_(1.0)
    x = torch.randn(4, 6)
    z, _ = layer(x)
    assert torch.equal(z[:, 0::2], x[:, 0::2])
    assert not torch.isclose(z[:, 1::2], x[:, 1::2]).all()


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        (maf, {"hidden": (32, 32), "layers": 1, "components": 20}),
        (spline, {"hidden": (32, 32), "bins": 16, "components": 8}),
    ],
)
def test_training_nears_the_entropy_of_moons(recipe, options):
    data = pyrogen.load("moons")
    with scoped_seed(0):
        setup = recipe(data, steps=400, lr=1e-2, **options)
    for _ in fit(setup.step, data.train, steps=400, batch_size=512):
        pass
    with torch.no_grad():
        value = setup.model.log_prob(data.test.x).mean().item() + data.space.log_det
    assert value == pytest.approx(-data.truth.entropy, abs=0.15)
    assert value < -data.truth.entropy + 0.02


def test_a_flow_learns_images_at_several_scales():
    data = pyrogen.load("digits")
    with scoped_seed(0):
        setup = realnvp(data, network="conv", layers=2, hidden=(16, 16), steps=60)
    x = data.test.tensors()[0]
    before = setup.model.log_prob(x).mean().item()
    for _ in fit(setup.step, data.train, steps=60, batch_size=64):
        pass
    assert setup.model.log_prob(x).mean().item() > before + 10
    drawn = setup.model.sample(200)
    assert drawn.shape == (200, 1, 8, 8)
    assert ((drawn > -0.011) & (drawn < 1.011)).all()


def test_a_base_may_be_learned():
    base = MADE((3,), (8,), MixtureLikelihood(4))
    model = Flow((3,), autoregressive((3,), 2, (8,)), base)
    x = torch.randn(5, 3)
    z, log_det = model.chain(x)
    assert torch.allclose(model.log_prob(x), base.log_prob(z) + log_det)
    assert {id(p) for p in base.parameters()} <= {id(p) for p in model.parameters()}


def test_bad_input_is_named():
    digits, moons = pyrogen.load("digits"), pyrogen.load("moons")
    for recipe in (realnvp, maf, spline):
        with pytest.raises(ConfigError, match=r"a flow computes a probability density.*mass"):
            recipe(pyrogen.load("digits-binary"))
    with pytest.raises(ConfigError, match="network=conv needs images"):
        realnvp(moons, network="conv")
    with pytest.raises(ConfigError, match="did you mean 'conv'"):
        realnvp(digits, network="con")
    with pytest.raises(ConfigError, match="did you mean 'coupling'"):
        spline(moons, form="couplin")
    with pytest.raises(ConfigError, match="bins must be greater than or equal to 2; got 1"):
        spline(moons, bins=1)
    with pytest.raises(ConfigError, match="at least 2 values"):
        coupling((1,), 2, (8,))
