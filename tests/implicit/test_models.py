"""GAN, DCGAN and WGAN: shapes, ranges, the layers they are made of, labels, and sampling that changes nothing."""

import pytest
import torch
from torch import nn

from pyrogen import LatentVariable, Pair
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.implicit import DCGAN, GAN, WGAN, ConvCritic, ConvGenerator, MLPCritic, MLPGenerator
from pyrogen.random import scoped_seed
from pyrogen.testing import check_implicit, check_sampler

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 11), (1, 17, 8)]
VECTORS = [(1,), (2,), (7,)]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.InstanceNorm2d, nn.GroupNorm)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample)


def make(kind, shape, **options):
    with scoped_seed(0):
        if kind == "dcgan":
            return DCGAN(shape, 5, 4, **options)
        if kind == "gan":
            return GAN(shape, 5, (8, 6), **options)
        return WGAN(shape, 5, (8, 6), "conv" if kind == "wgan conv" else "mlp", **options)


CASES = [(kind, shape) for kind in ("gan", "dcgan", "wgan", "wgan conv") for shape in IMAGES]
CASES += [(kind, shape) for kind in ("gan", "wgan") for shape in VECTORS]


@pytest.mark.parametrize(("kind", "shape"), CASES)
@pytest.mark.parametrize("n", [1, 3])
def test_shapes(kind, shape, n):
    model = make(kind, shape)
    for check in (check_sampler, check_implicit):
        check(model, Split(torch.rand(n, *shape)))
    assert not isinstance(model, Pair | LatentVariable)
    assert not hasattr(model, "log_prob")
    assert model.prior(n).shape == (n, 5)
    x = model.sample(n)
    assert x.dtype == torch.float32
    assert model.critic.eval()(x).shape == (n,)


@pytest.mark.parametrize(
    ("kind", "shape"), [("gan", (2,)), ("dcgan", (1, 8, 8)), ("wgan", (2,)), ("wgan conv", (1, 8, 8))]
)
def test_range_of_samples(kind, shape):
    for unit in (True, False):
        model = make(kind, shape, unit=unit)
        for parameter in model.generator.parameters():
            nn.init.normal_(parameter, 0, 3, generator=torch.Generator().manual_seed(1))
        with scoped_seed(0):
            x = model.sample(200)
        assert ((x >= 0) & (x <= 1)).all() == unit
        assert x.std() > 0.1


def test_prior_is_standard_normal():
    model = make("gan", (2,))
    with scoped_seed(0):
        z = model.prior(20_000)
    assert z.mean(0).abs().max() < 5 / 20_000**0.5
    assert (z.T.cov() - torch.eye(5)).abs().max() < 5 * (2 / 20_000) ** 0.5
    assert model.double().prior(2).dtype == torch.float64


@pytest.mark.parametrize("shape", IMAGES)
def test_dcgan_keeps_the_papers_rules(shape):
    model = make("dcgan", shape)
    generator = [m for m in model.generator.modules() if not list(m.children())]
    critic = [m for m in model.critic.modules() if not list(m.children())]
    assert not [m for m in (*generator, *critic) if isinstance(m, POOLS)]
    assert all(m.stride == (2, 2) for m in (*generator, *critic) if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    ups = [i for i, m in enumerate(generator) if isinstance(m, nn.ConvTranspose2d)]
    downs = [i for i, m in enumerate(critic) if isinstance(m, nn.Conv2d)]
    assert len(ups) == len(downs) >= 1
    # The image layers: the generator's last, the critic's first.
    assert not any(isinstance(m, NORMS) for m in generator[ups[-1] :])
    assert not isinstance(critic[downs[0] + 1], NORMS)
    # All the others are followed by BatchNorm.
    assert all(isinstance(generator[i + 1], nn.BatchNorm2d) for i in ups[:-1])
    assert all(isinstance(critic[i + 1], nn.BatchNorm2d) for i in downs[1:])
    assert {type(m) for m in generator} <= {nn.Linear, nn.Unflatten, nn.BatchNorm2d, nn.ReLU, nn.ConvTranspose2d} | {
        type(generator[-1])
    }
    assert all(m.negative_slope == 0.2 for m in critic if isinstance(m, nn.LeakyReLU))
    assert not any(isinstance(m, nn.Sigmoid | nn.ReLU) for m in critic)


def test_dcgan_starts_from_narrow_weights():
    model = DCGAN((3, 32, 32), 64, 32)
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    assert torch.cat([w.detach().flatten() for w in weights]).std().item() == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize(("kind", "shape"), [("wgan", (2,)), ("wgan", (1, 8, 8)), ("wgan conv", (3, 28, 28))])
def test_wgan_critic_has_no_sigmoid_and_no_norm(kind, shape):
    critic = make(kind, shape).critic
    assert not [m for m in critic.modules() if isinstance(m, (nn.Sigmoid, *NORMS))]
    # Without BatchNorm the scores of a batch are those of its rows, in training mode too.
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(critic.train()(x), torch.cat([critic(row[None]) for row in x]), atol=1e-6)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(50)
    assert critic(x).abs().max() > 1  # any real score


@pytest.mark.parametrize("kind", ["gan", "dcgan", "wgan", "wgan conv"])
def test_sampling_leaves_modes_buffers_and_gradients(kind):
    model = make(kind, (1, 28, 28))
    list(model.generator.modules())[-1].eval()
    modes = [part.training for part in model.modules()]
    buffers = {name: t.clone() for name, t in model.named_buffers()}
    weights = {name: t.clone() for name, t in model.state_dict().items()}
    with scoped_seed(1):
        first = model.sample(4)
    with scoped_seed(1):
        assert torch.equal(model.sample(4), first)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(t, buffers[name]) for name, t in model.named_buffers())
    assert all(torch.equal(t, weights[name]) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_samples_do_not_depend_on_their_neighbours():
    model = make("dcgan", (1, 8, 8))
    z = model.prior(6)
    model.eval()
    assert torch.allclose(model.generator(z)[:2], model.generator(z[:2]), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11)])
def test_conditional_dcgan(shape):
    model = make("dcgan", shape, classes=3)
    y = torch.tensor([0, 2, 1, 0])
    z, x = torch.zeros(4, 5), torch.rand(shape, generator=torch.Generator().manual_seed(0)).expand(4, *shape)
    model.eval()
    made, scored = model.generator(z, y), model.critic(x, y)
    assert torch.equal(made[0], made[3])
    assert not torch.allclose(made[0], made[1], atol=1e-6)
    assert scored[0] == scored[3]
    assert len(scored.unique()) == 3
    for call in (lambda: model.generator(z), lambda: model.critic(x)):
        with pytest.raises(ValueError, match="labels"):
            call()


def test_labels_of_conditional_samples():
    model = make("dcgan", (1, 8, 8), classes=3)
    with scoped_seed(0):
        all_twos = model.sample(5, torch.full((5,), 2))
    with scoped_seed(0):
        one_row = model.sample(5, torch.tensor([2]))
    assert torch.equal(all_twos, one_row)
    seen = []
    model.generator.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    model.sample(3000)
    assert seen[0].shape == (3000,)
    assert (torch.bincount(seen[0], minlength=3) / 3000 - 1 / 3).abs().max() < 0.05
    model.condition.set_frequencies(torch.tensor([3, 0, 1]))
    model.sample(3000)
    assert (torch.bincount(seen[1], minlength=3) / 3000 - torch.tensor([0.75, 0, 0.25])).abs().max() < 0.05
    with pytest.raises(ConfigError, match="1 or 5 rows; got 2"):
        model.sample(5, torch.tensor([0, 1]))


def test_networks_on_their_own():
    z, x = torch.zeros(2, 5), torch.rand(2, 3, 9, 8)
    assert ConvGenerator(5, (3, 9, 8), 4).eval()(z).shape == x.shape
    assert ConvCritic((3, 9, 8), 4)(x).shape == (2,)
    assert MLPGenerator(5, (3, 9, 8), (4,), unit=True)(z).shape == x.shape
    assert MLPCritic((3, 9, 8), (4,))(x).shape == (2,)


def test_critic_sees_unit_data_around_zero():
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with scoped_seed(0):
        unit = ConvCritic((1, 8, 8), 4)
    with scoped_seed(0):
        real = ConvCritic((1, 8, 8), 4, unit=False)
    assert torch.allclose(unit(x), real(2 * x - 1))


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="8 x 8"):
        DCGAN((1, 7, 28))
    with pytest.raises(ConfigError, match="8 x 8"):
        WGAN((1, 4, 4), hidden=(4,), network="conv")
    with pytest.raises(ConfigError, match=r"'cnn'.*conv, mlp"):
        WGAN((1, 8, 8), network="cnn")
