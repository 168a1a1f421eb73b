"""Deterministic autoencoders: adjoints and inverses of their layers, PCA in closed form, and their measure."""

from functools import partial

import pytest
import torch
from sklearn import decomposition
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam

import pyrogen
from pyrogen.data import Split
from pyrogen.errors import ConfigError, DataError
from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.nn import ConvDown, ConvUp, PoolDown, PoolUp
from pyrogen.nn.pooling import pool, unpool
from pyrogen.protocols import Sampler
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe
from pyrogen.reconstruction import PCA, Autoencoder
from pyrogen.steps import GradientStep
from pyrogen.testing import check_autoencoder

SHAPES = ((1, 8, 8), (3, 9, 11), (1, 28, 28))
NETWORKS = ("mlp", "conv", "max", "average")


def some(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_way_up_is_made_of_adjoints_of_the_way_down(shape):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every stride, padding and output padding in use."""
    down = [m for m in ConvDown(shape, 5, 4) if isinstance(m, nn.Conv2d)]
    up = [m for m in ConvUp(5, shape, 4) if isinstance(m, nn.ConvTranspose2d)]
    assert len(down) == len(up) > 0
    size = shape[1:]
    for a, b in zip(down, reversed(up), strict=True):
        assert (a.stride, a.padding, a.kernel_size) == (b.stride, b.padding, b.kernel_size)
        x = some(2, a.in_channels, *size)
        Ax = F.conv2d(x, a.weight, None, a.stride, a.padding)
        y = some(*Ax.shape, seed=1)
        Aty = F.conv_transpose2d(y, a.weight, None, b.stride, b.padding, b.output_padding)
        assert Aty.shape == x.shape
        assert torch.allclose((Ax * y).sum(), (x * Aty).sum(), rtol=1e-4)
        size = Ax.shape[2:]


@pytest.mark.parametrize("size", [(8, 8), (9, 11), (7, 4)])
@pytest.mark.parametrize("how", ["max", "average"])
@pytest.mark.parametrize("kept", [True, False])
def test_pooling_undoes_unpooling(size, how, kept):
    x = some(2, 3, *size)
    y, count_positional = pool(x, how)
    assert y.shape == (2, 3, size[0] // 2, size[1] // 2)
    z = some(*y.shape, seed=1)
    wide = unpool(z, how, size, count_positional if kept else None)
    assert wide.shape == x.shape
    assert torch.allclose(pool(wide, how)[0], z)


def test_maxima_go_back_where_they_were_found():
    x = some(2, 3, 9, 11)
    y, count_positional = pool(x, "max")
    back = unpool(y, "max", (9, 11), count_positional)
    assert torch.equal(back[back > 0], x[back > 0])
    assert (back > 0).sum() == y.numel()
    upper_left = unpool(y, "max", (9, 11))
    assert torch.equal(upper_left[..., :8:2, :10:2], y)


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("shape", SHAPES)
def test_pooled_networks_mirror_each_other(pooling, shape):
    down, up = PoolDown(shape, 5, 4, pooling), PoolUp(5, shape, 4, pooling)
    z, kept = down(some(2, *shape))
    assert z.shape == (2, 5)
    assert up(z, kept).shape == up(z).shape == (2, *shape)
    assert torch.equal(up(z, kept), up(z)) == (pooling == "average")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES[:2])
@pytest.mark.parametrize("n", [1, 3])
def test_contract(network, shape, n):
    with scoped_seed(0):
        model = Autoencoder(shape, 4, (8,), network, mean=some(*shape), unit=True)
    x = some(n, *shape)
    check_autoencoder(model, Split(x))
    assert not isinstance(model, Sampler)
    assert model.encode(x).shape == (n, 4)
    assert model.decode(model.encode(x)).shape == x.shape
    assert model.reconstruct(x).min() >= 0
    assert model.reconstruct(x).max() <= 1
    if network != "max":
        assert torch.equal(model.decode(model.encode(x)), model.reconstruct(x))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    GradientStep(model.losses, partial(SGD, lr=0.1))(x)
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


def test_the_decoder_starts_at_the_mean():
    mean = some(1, 8, 8) * 0.9 + 0.05
    for hidden in ((), (8,)):
        model = Autoencoder((1, 8, 8), 4, hidden, mean=mean, unit=True)
        for p in model.decoder.parameters():
            nn.init.zeros_(p)
        assert torch.allclose(model.decode(torch.randn(1, 4))[0], mean, atol=1e-5)


def test_pca_is_that_of_scikit_learn():
    x = (torch.randn(300, 6, generator=torch.Generator().manual_seed(0)) @ some(6, 6)).view(-1, 1, 2, 3)
    model, reference = PCA.from_data(x, 3), decomposition.PCA(3).fit(x.flatten(1).numpy())
    expected = torch.from_numpy(reference.inverse_transform(reference.transform(x.flatten(1).numpy())))
    assert torch.allclose(model.reconstruct(x).flatten(1), expected, atol=1e-4)
    assert torch.allclose(model.encode(x).var(0), torch.from_numpy(reference.explained_variance_), rtol=1e-3)
    assert torch.allclose(model.components @ model.components.T, torch.eye(3), atol=1e-5)
    assert torch.allclose(PCA.from_data(x, 6).reconstruct(x), x, atol=1e-4)


def test_a_linear_autoencoder_learns_the_principal_plane():
    data = pyrogen.load("digits")
    x, _ = data.train.tensors()
    best = reconstruction_score(PCA.from_data(x, 4).reconstruct, x).value
    with scoped_seed(0):
        model = Autoencoder(data.shape, 4, (), mean=x.mean(0))
    step = GradientStep(model.losses, partial(Adam, lr=1e-2))
    for _ in pyrogen.fit(step, x, steps=1500, batch_size=len(x), seed=0):
        pass
    learned = reconstruction_score(model.reconstruct, x).value
    assert best <= learned * (1 + 1e-5)
    assert learned < 1.005 * best


def test_noise_is_for_training_only():
    with scoped_seed(0):
        model = Autoencoder((5,), 2, (8,), noise=0.5)
    x = some(4, 5)
    losses = []
    for seed in (0, 1):
        with scoped_seed(seed):
            losses.append(float(model.losses(x)["loss"].detach()))
    assert losses[0] != losses[1]
    step = GradientStep(model.losses)
    assert step.evaluate(x) == step.evaluate(x)
    assert model.training


def test_the_score_is_the_mean_square_whatever_the_batch():
    x = some(7, 2, 3)
    score = reconstruction_score(lambda x: x + 0.5, x, rows=2)
    assert score.value == pytest.approx(0.25)
    assert (score.kind, score.unit, score.detail["n"]) == ("statistic", "mse", 7)
    assert reconstruction_score(lambda x: x * 0, x).value == pytest.approx(float(x.square().mean()))


@pytest.mark.parametrize("name", ["autoencoder", "conv-autoencoder", "pca"])
def test_recipes_are_measured_by_reconstruction_alone(name):
    data = pyrogen.load("digits")
    options = {} if name == "pca" else {"steps": 60}
    setup = recipe(name)(data, latent=8, **options)
    before = pyrogen.evaluate(setup.model, data)["reconstruction"].value
    for _ in pyrogen.fit(setup.step, setup.data.train, steps=60, batch_size=64, seed=0):
        pass
    scores = pyrogen.evaluate(setup.model, data)
    assert scores.keys() == {"reconstruction"}
    assert scores["reconstruction"].value < before
    assert pyrogen.evaluate(setup.model, data.test).keys() == {"reconstruction"}


def test_mistakes_are_named():
    for make in (lambda k: Autoencoder((1, 8, 8), k), lambda k: PCA.from_data(some(100, 1, 8, 8), k)):
        for k in (65, 0):
            with pytest.raises(ConfigError, match=f"1 to 64 dimensions, those of the data; got {k}"):
                make(k)
    with pytest.raises(ConfigError, match="unknown network 'avarage'; did you mean 'average'"):
        Autoencoder((1, 8, 8), 4, (8,), "avarage")
    with pytest.raises(ConfigError, match="unknown pooling 'mean'"):
        PoolDown((1, 8, 8), 4, pooling="mean")
    with pytest.raises(ConfigError, match="8 x 8"):
        Autoencoder((1, 7, 9), 4, (8,), "max")
    with pytest.raises(ConfigError, match="expected noise of at least 0"):
        Autoencoder((5,), 2, noise=-1.0)
    with pytest.raises(DataError, match="finite data"):
        PCA.from_data(torch.full((3, 5), torch.nan), 2)
    with pytest.raises(ConfigError, match="needs images"):
        recipe("conv-autoencoder")(pyrogen.load("ring"))
    with pytest.raises(ConfigError, match="unknown pooling 'mxa'; did you mean 'max'"):
        recipe("conv-autoencoder")(pyrogen.load("digits"), pooling="mxa")
