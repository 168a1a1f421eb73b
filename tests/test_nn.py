"""Networks: the sizes on the way down and up, what they start from, and modes that are put back."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError
from pyrogen.nn import ConvDown, ConvUp, dcgan_init, eval_mode, mlp
from pyrogen.nn.conv import NORMS, RandomAffine, halved_sizes
from pyrogen.random import scoped_seed

HALVINGS = {
    (8, 8): [(8, 8), (4, 4)],
    (9, 11): [(9, 11), (4, 5)],
    (9, 20): [(9, 20), (4, 10)],
    (34, 17): [(34, 17), (17, 8), (8, 4)],
    (28, 28): [(28, 28), (14, 14), (7, 7)],
    (32, 32): [(32, 32), (16, 16), (8, 8), (4, 4)],
    (64, 48): [(64, 48), (32, 24), (16, 12), (8, 6)],
}
SIZES = list(HALVINGS)


def sizes_inside(network, x, kinds):
    """The height and width after each layer of the given kinds."""
    seen = []
    for layer in network:
        x = layer(x)
        if isinstance(layer, kinds):
            seen.append(tuple(x.shape[2:]))
    return seen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_convolutions_go_down_and_come_back(size, channels, norm):
    shape = (channels, *size)
    down, up = ConvDown(shape, 5, width=2, norm=norm), ConvUp(5, shape, width=2, norm=norm)
    x = torch.rand(2, *shape)
    assert halved_sizes(*size) == HALVINGS[size]
    assert sizes_inside(down, x, nn.Conv2d) == HALVINGS[size][1:]
    assert sizes_inside(up, down(x), (nn.Unflatten, nn.ConvTranspose2d)) == HALVINGS[size][::-1]
    assert down(x).shape == (2, 5)
    assert up(down(x)).shape == x.shape
    assert up.eval()(down.eval()(x[:1])).shape == x[:1].shape


DEEP = {(28, 28): [(28, 28), (14, 14), (7, 7), (3, 3)], (9, 20): [(9, 20), (4, 10), (2, 5), (1, 2)]}


@pytest.mark.parametrize("size", DEEP)
def test_convolutions_as_deep_as_asked(size):
    down, up = ConvDown((1, *size), 5, width=2, layers=3), ConvUp(5, (1, *size), width=2, layers=3)
    x = torch.rand(2, 1, *size)
    assert sizes_inside(down, x, nn.Conv2d) == DEEP[size][1:]
    assert sizes_inside(up, down(x), (nn.Unflatten, nn.ConvTranspose2d)) == DEEP[size][::-1]
    assert up(down(x)).shape == x.shape


@pytest.mark.parametrize("layers", [-1, 4])
def test_sides_cannot_be_halved_at_will(layers):
    for network in (lambda: ConvDown((1, 9, 20), 5, layers=layers), lambda: ConvUp(5, (1, 9, 20), layers=layers)):
        with pytest.raises(ConfigError, match=f"9 x 20 pixels can be halved at most 3 times; got layers={layers}"):
            network()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_transposed_convolutions_are_adjoint(size, channels):
    with scoped_seed(0):
        up = ConvUp(3, (channels, *size), width=2).double()
        layers = [layer for layer in up if isinstance(layer, nn.ConvTranspose2d)]
        sizes = HALVINGS[size][::-1]
        assert len(layers) == len(sizes) - 1
        for layer, small, large in zip(layers, sizes[:-1], sizes[1:], strict=True):
            y = torch.randn(2, layer.in_channels, *small, dtype=torch.float64)
            x = torch.randn(2, layer.out_channels, *large, dtype=torch.float64)
            adjoint = layer(y) - layer.bias[:, None, None]
            forward = F.conv2d(x, layer.weight, stride=2, padding=1)
            assert adjoint.shape == x.shape
            assert (forward * y).sum().item() == pytest.approx((x * adjoint).sum().item(), rel=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_convolutions_on_the_way_down_have_their_adjoint_in_the_mirror(size):
    with scoped_seed(0):
        down, up = (net.double() for net in (ConvDown((3, *size), 4, width=2), ConvUp(4, (3, *size), width=2)))
        convolutions = [layer for layer in down if isinstance(layer, nn.Conv2d)]
        mirrored = [layer for layer in up if isinstance(layer, nn.ConvTranspose2d)][::-1]
        for layer, mirror, large in zip(convolutions, mirrored, HALVINGS[size][:-1], strict=True):
            assert mirror.weight.shape == layer.weight.shape
            mirror.weight.data.copy_(layer.weight.data)
            x = torch.randn(1, layer.in_channels, *large, dtype=torch.float64)
            forward = layer(x) - layer.bias[:, None, None]
            y = torch.randn_like(forward)
            adjoint = mirror(y) - mirror.bias[:, None, None]
            assert (forward * y).sum().item() == pytest.approx((x * adjoint).sum().item(), rel=1e-12)


def test_batch_norm_is_inside_only():
    down, up = ConvDown((3, 32, 32), 1, norm="batch"), ConvUp(5, (3, 32, 32), norm="batch")
    assert [type(layer).__name__ for layer in list(down)[:5]] == ["Conv2d", "SiLU", "Conv2d", "BatchNorm2d", "SiLU"]
    assert isinstance(up[-1], nn.ConvTranspose2d)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in down) == 2
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in up) == 3
    # A bias in front of BatchNorm would be a parameter without effect.
    assert [layer.bias is not None for layer in down if isinstance(layer, nn.Conv2d)] == [True, False, False]
    assert [layer.bias is not None for layer in up if isinstance(layer, nn.ConvTranspose2d)] == [False, False, True]
    assert up[0].bias is None


@pytest.mark.parametrize("size", [(7, 8), (8, 7), (1, 1), (0, 8)])
def test_too_small_images_are_refused(size):
    for make in (lambda: ConvDown((1, *size), 4), lambda: ConvUp(4, (1, *size))):
        with pytest.raises(ConfigError, match=rf"8 x 8.*{size[0]} x {size[1]}"):
            make()


def test_unknown_norm_is_refused():
    for make in (ConvDown, lambda shape, n, **options: ConvUp(n, shape, **options)):
        with pytest.raises(ConfigError, match=r"norm.*'group'.*layer"):
            make((1, 8, 8), 4, norm="group")


@pytest.mark.parametrize(("norm", "alone"), [("none", True), ("layer", True), ("batch", False)])
def test_only_batch_norm_ties_the_rows_of_a_batch(norm, alone):
    down, x = ConvDown((1, 32, 32), 2, 4, norm=norm), torch.rand(6, 1, 32, 32)
    assert torch.allclose(down(x)[:3], down(x[:3]), atol=1e-5) == alone


def test_dcgan_starting_weights():
    with scoped_seed(0):
        nets = nn.ModuleList(
            [ConvDown((3, 32, 32), 64, width=64, norm="batch"), ConvUp(64, (3, 32, 32), 64, norm="batch")]
        )
        nets.apply(dcgan_init)
    linear = [m for m in nets.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    norms = [m for m in nets.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(linear) == 8
    assert len(norms) == 5
    for layers, mean in ((linear, 0.0), (norms, 1.0)):
        weights = torch.cat([m.weight.detach().flatten() for m in layers])
        n = len(weights)
        assert float(weights.mean()) == pytest.approx(mean, abs=4 * 0.02 / n**0.5)
        assert float(weights.std()) == pytest.approx(0.02, abs=4 * 0.02 / (2 * n) ** 0.5)
    assert all(not m.bias.any() for m in (*linear, *norms) if m.bias is not None)
    assert all(torch.equal(m.running_var, torch.ones_like(m.running_var)) for m in norms)


@pytest.mark.parametrize("hidden", [(), (7,), (7, 9, 8)])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_mlp(hidden, dropout):
    network = mlp(4, hidden, 3, nn.Tanh, dropout)
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == list(zip((4, *hidden), (*hidden, 3), strict=True))
    assert network[-1] is linear[-1]
    assert sum(isinstance(layer, nn.Tanh) for layer in network) == len(hidden)
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.5] * len(hidden) * bool(dropout)
    assert network(torch.zeros(1, 4)).shape == (1, 3)
    assert network(torch.zeros(2, 5, 4)).shape == (2, 5, 3)


def test_mlp_without_hidden_layers_is_linear():
    network = mlp(4, (), 3)
    with torch.no_grad():
        x, y, zero = torch.ones(1, 4), torch.arange(4.0)[None], torch.zeros(1, 4)
        assert torch.allclose(network(x + y) - network(zero), network(x) + network(y) - 2 * network(zero), atol=1e-5)


def mixed():
    network = nn.Sequential(nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2)), nn.Linear(2, 2), nn.Dropout(0.5))
    network[0][1].eval()  # a BatchNorm that its user has frozen
    network[2].eval()
    return network


def test_evaluating_restores_mixed_modes():
    network, other = mixed(), nn.Dropout(0.5)
    before = [part.training for part in network.modules()]
    assert len(set(before)) == 2
    x = torch.ones(8, 2)
    with eval_mode(network, other, None, "no network"):
        assert not any(part.training for part in (*network.modules(), other))
        assert torch.equal(other(x), x)
        assert torch.equal(network(x), network(x))
    assert [part.training for part in network.modules()] == before
    assert other.training


def test_evaluating_restores_after_an_exception():
    network = mixed()
    before = [part.training for part in network.modules()]
    with pytest.raises(RuntimeError, match="inside"), eval_mode(network):
        raise RuntimeError("inside")
    assert [part.training for part in network.modules()] == before


def test_evaluating_inside_evaluating():
    network = mixed()
    before = [part.training for part in network.modules()]
    with eval_mode(network, network):
        with eval_mode(network):
            pass
        assert not any(part.training for part in network.modules())
    assert [part.training for part in network.modules()] == before


def test_a_random_affine_map_is_about_the_centre_and_in_pixels(monkeypatch):
    """Of images that are not square, with given draws in place of random ones."""
    x = torch.rand(2, 1, 9, 15, generator=torch.Generator().manual_seed(0))
    draws = torch.zeros(2, 2, 3)
    monkeypatch.setattr(torch, "rand", lambda *size, **kinds: (draws + 1) / 2)
    torch.testing.assert_close(RandomAffine((1, 9, 15), 4, 0.5)(x), x)
    draws[1, :, 2] = torch.tensor([0.5, -0.25])  # of a shift of 4 pixels: 2 to the right in u, 1 up
    moved = RandomAffine((1, 9, 15), 4, 0)(x)
    torch.testing.assert_close(moved[0], x[0])
    torch.testing.assert_close(moved[1, :, 1:, :-2], x[1, :, :-1, 2:])
    torch.testing.assert_close(moved[1, :, 1:, -1], x[1, :, :-1, -1])  # the edge goes on
    draws[:] = torch.tensor([[-1.0, -1, 0], [1, -1, 0]])  # I + A is a quarter turn
    turned = RandomAffine((1, 9, 15), 0, 1)(x)
    torch.testing.assert_close(turned[0, 0, :, 3:12], x[0, 0, :, 3:12].rot90())
    still = RandomAffine((1, 9, 15), 4, 0.5).eval()
    assert torch.equal(still(x), x)
