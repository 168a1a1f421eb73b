"""What an exploration holds, where it is known: codes, active units, pictures around codes and between them."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import points
from torch.nn import functional as F

from pyrogen import use
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.space import Space
from pyrogen.errors import ConfigError, DataError
from pyrogen.explicit import CVAE, MADE, VAE, VQVAE, LadderVAE
from pyrogen.explicit.posteriors import FlowPosterior
from pyrogen.hybrid import VAEGAN
from pyrogen.implicit import GAN
from pyrogen.nn.conditions import Label
from pyrogen.reconstruction import PCA, Autoencoder

SHAPE = (1, 4, 4)
CLASSES = ("a", "b", "c")


def images(n=60, shape=SHAPE, labelled=True):
    """Binary images, of three classes in turn."""
    x = (points(n, *shape) > 0).float()
    y = torch.arange(n) % 3 if labelled else None
    splits = [Split(part, y) for part in (x, x, x)]
    return Dataset("images", *splits, shape, Space("binary"), CLASSES if labelled else ())


def vae(latent, **more):
    torch.manual_seed(0)
    return VAE(SHAPE, latent=latent, hidden=(8,), **more)


class Bare:
    """Codes of the first three pixels: one is used fully, one by half, and one not at all."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 3), 1.0).to_event(1))
            mean = F.pad(z, (0, 13)).view(len(x), *SHAPE)
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(3), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            mean = x.flatten(1)[:, :3] * torch.tensor([0.0, 2.0, 1.0])
            pyro.sample("z", dist.Normal(mean, torch.tensor([1.0, 0.1, 0.5])).to_event(1))


def test_two_latents_are_the_plane():
    model, data = vae(2), images()
    found = use.explore(model, data, n=20)
    x, codes = data.test.x[found.rows], use.encode(model, data.test.x[found.rows])
    torch.testing.assert_close(found.plane.points, codes)
    assert found.plane.axes == ("z1", "z2")
    torch.testing.assert_close(found.pictures, x)
    torch.testing.assert_close(found.plane.reconstructions, use.decode(model, codes))
    assert torch.equal(found.labels, data.test.y[found.rows])
    assert found.labels.diff().min() == 0  # by class, so that a slider goes through one after another
    assert not torch.equal(found.rows, use.explore(model, data, n=20, seed=1).rows)


def test_more_latents_are_shown_by_their_principal_components():
    model, data = vae(5), images()
    found = use.explore(model, data)
    codes = use.encode(model, data.test.x)
    values = torch.linalg.eigvalsh(torch.cov(codes.T, correction=0)).flip(0)
    torch.testing.assert_close(found.plane.points.var(0, correction=0), values[:2], rtol=1e-4, atol=1e-6)
    assert f"{float(values[0] / values.sum()):.0%}" in found.plane.axes[0]


def test_one_latent_is_a_line():
    found = use.explore(vae(1), images())
    torch.testing.assert_close(found.plane.points[:, 0], use.encode(vae(1), images().test.x[found.rows])[:, 0])
    assert found.plane.is_line
    assert found.plane.points[:, 1].unique().numel() == 60
    assert found.sliders.units.tolist() == [0]


def test_sliders_move_one_coordinate_around_the_mean_and_around_data():
    model, data = vae(4), images()
    found = use.explore(model, data, anchors=3)
    codes = use.encode(model, data.test.x)
    spread = use.encode(model, data.test.x, draw=True).std(0)
    start = torch.cat([codes.mean(0, keepdim=True), codes[found.rows[found.anchors]]])
    assert found.sliders.pictures.shape == (4, 4, 13, *SHAPE)
    torch.testing.assert_close(found.sliders.pictures[:, 2, 6], use.decode(model, start))
    unit = int(found.sliders.units[1])
    moved = start.clone()
    moved[:, unit] = found.sliders.values[:, 1, -1]
    torch.testing.assert_close(found.sliders.pictures[:, 1, -1], use.decode(model, moved))
    shift = found.sliders.values[:, 1, -1] - start[:, unit]
    torch.testing.assert_close(shift, 3 * spread[unit].expand(4), rtol=0.4, atol=0)  # of other draws


def test_paths_lead_between_every_two_anchors():
    model, data = vae(3), images()
    found = use.explore(model, data, anchors=4)
    assert found.paths.shape == (6, 9, *SHAPE)
    x = data.test.x[found.rows[found.anchors]]
    torch.testing.assert_close(found.paths[4], use.interpolate(model, x[1:2], x[3:4]).data[0])  # (1, 3)
    torch.testing.assert_close(found.paths[:3, 0], use.reconstruct(model, x[:1]).expand(3, *SHAPE))


def test_anchors_are_of_all_classes_first():
    found = use.explore(vae(2), images(), anchors=4)
    assert found.labels[found.anchors].tolist() == [0, 0, 1, 2]
    few = images(2)
    assert use.explore(vae(2), few).anchors.tolist() == [0, 1]


def test_units_of_a_pair_have_their_divergence():
    data = images()
    found = use.explore(Bare(), data)
    x = data.test.x.flatten(1)[:, :3]
    divergence = [0.0, float((0.005 + 2 * x[:, 1].square() - 0.5 + 2.302585).mean())]
    divergence.append(float((0.125 + x[:, 2].square() / 2 - 0.5 + 0.693147).mean()))
    torch.testing.assert_close(found.units.divergence, torch.tensor(divergence))
    assert found.units.active.tolist() == [False, True, True]
    assert found.units.order.tolist() == [1, 2, 0]
    assert found.sliders.units.tolist() == [1, 2, 0]
    codes = use.encode(Bare(), data.test.x)
    torch.testing.assert_close(found.units.variance, codes.var(0, correction=0))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: Autoencoder(SHAPE, latent=3, hidden=(8,)), "no posterior as a Pyro guide"),
        (lambda: PCA.from_data(images().test.x, 3), "no posterior as a Pyro guide"),
        (lambda: vae(3, posterior=FlowPosterior(3, context=2)), "dependent"),
    ],
)
def test_units_without_a_divergence_are_ordered_by_variance(model, reason):
    found = use.explore(model(), images(), anchors=2)
    assert found.units.divergence is None
    assert reason in found.units.reason
    assert found.units.variance[found.units.order].diff().max() <= 0


@pytest.mark.parametrize(
    "model",
    [
        lambda: LadderVAE(SHAPE, latents=(3, 2), hidden=(8, 4)),  # the code is the lowest layer
        lambda: VAEGAN(SHAPE, latent=3, hidden=(8,), features=4),  # its pair generates features
    ],
)
def test_models_whose_pair_has_more_than_the_code(model):
    torch.manual_seed(0)
    found = use.explore(model(), images(), anchors=2)
    assert found.units.divergence.shape == (3,)
    assert found.plane.points.shape == (60, 2)


def test_the_label_of_a_conditional_model_stays_that_of_the_first():
    torch.manual_seed(0)
    model, data = CVAE(SHAPE, Label(3), latent=2, hidden=(8,)), images()
    found = use.explore(model, data, anchors=3)
    assert found.conditional
    x, y = data.test.x[found.rows[found.anchors]], torch.arange(3)
    z = use.encode(model, x, y)
    torch.testing.assert_close(found.paths[2, -1], use.decode(model, z[2:], y[1:2])[0])  # (1, 2)
    torch.testing.assert_close(found.sliders.pictures[1:, 0, 6], use.decode(model, z, y))
    assert found.units.divergence is not None


def test_a_generator_is_explored_by_its_draws():
    torch.manual_seed(0)
    found = use.explore(GAN(SHAPE, latent=5, hidden=(8,), n_binary=2), images(), anchors=4)
    assert found.plane is None
    assert found.units is None
    assert found.sliders.pictures.shape == (5, 3, 13, *SHAPE)  # coordinates of -1 and 1 are not moved
    assert found.paths.shape == (6, 9, *SHAPE)
    torch.testing.assert_close(found.paths[0, 0], found.pictures[0])
    torch.testing.assert_close(found.sliders.pictures[1:, 0, 6], found.pictures)
    classes = use.explore(GAN(SHAPE, latent=3, hidden=(8,), classes=3), images(), anchors=4)
    assert classes.conditional
    assert classes.labels.shape == (4,)


def test_one_datum_and_data_without_labels():
    found = use.explore(vae(3), images(1, labelled=False))
    assert found.labels is None
    assert found.paths is None
    assert found.plane.points.tolist() == [[0, 0]]
    assert not found.units.active.any()
    assert found.sliders.pictures.isfinite().all()
    assert use.explore(vae(3), images(labelled=False)).anchors.tolist() == list(range(12))


class Brightness:
    """The code of a picture is its mean in each channel."""

    def encode(self, x):
        return x.mean((2, 3))

    def decode(self, z):
        return z[:, :, None, None].expand(-1, -1, 64, 64)


def test_large_pictures_are_shrunk():
    data = images(8, (3, 64, 64))
    found = use.explore(Brightness(), data, anchors=2)
    assert found.shrunk == 2
    assert found.pictures.shape == (8, 3, 32, 32)
    torch.testing.assert_close(found.pictures[0, 0, 3, 5], data.test.x[found.rows[0], 0, 6:8, 10:12].mean())


def test_what_cannot_be_explored_is_refused():
    data, broken = images(), vae(2)
    for weights in broken.encoder.parameters():
        weights.data.fill_(torch.nan)
    table = Dataset("rows", *[Split(torch.zeros(5, 2))] * 3, (2,), Space("real"))
    for model, given, options, error, message in (
        (vae(2), table, {}, ConfigError, r"'rows' have the shape \(2,\)"),
        (VQVAE((1, 8, 8), codes=4), images(9, (1, 8, 8)), {}, ConfigError, "codes of a VQVAE are discrete"),
        (MADE(SHAPE, hidden=(8,)), data, {}, ConfigError, "MADE has neither codes nor a generator"),
        (GAN(SHAPE, latent=2, hidden=(8,)), data, {"rows": data.test}, ConfigError, "GAN has no encoder"),
        (vae(2), data, {"rows": Split(data.test.x[:0])}, DataError, "at least one datum"),
        (broken, data, {}, ConfigError, "60 of 60 codes are not finite"),
        (vae(2), data, {"n": 0}, ConfigError, "n=0"),
    ):
        with pytest.raises(error, match=message):
            use.explore(model, given, **options)
