"""Pictures of models: draws as measures judge them, their means, and the nearest training images."""

import pytest
import torch

import pyrogen
from pyrogen.comparison.page import data_pictures, model_pictures, nearest_images
from pyrogen.explicit import VAE, Gaussian
from pyrogen.measure.samples import draw_samples
from pyrogen.report.pictures import draws, means, picture_size


@pytest.fixture(scope="module")
def digits_data():
    return pyrogen.load("digits")


def test_draws_are_what_measures_draw(digits_data):
    model = VAE((1, 8, 8), 4, (16,))
    shown = draws(model, digits_data, 64, seed=3)
    assert torch.equal(shown, digits_data.space.to_user(draw_samples(model, digits_data, 64, 3)))


def test_means_are_those_of_the_same_latent_draws(digits_data):
    """Draws of a VAE are nearer to their own means than to those of others."""
    torch.manual_seed(0)
    model = VAE((1, 8, 8), 4, (64,))
    step = pyrogen.SVI(model.model, model.guide, optim=lambda p: torch.optim.Adam(p, lr=1e-2))
    for _ in pyrogen.fit(step, digits_data.train, steps=300, batch_size=128, seed=0):
        pass
    drawn, mean = draws(model, digits_data, 64, 0), means(model, digits_data, 64, 0)
    distances = torch.cdist(drawn.flatten(1), mean.flatten(1))
    assert ((distances < distances.diag()[:, None]).float().mean()) < 0.25  # 0.5 for unrelated draws
    assert means(Gaussian((1, 8, 8)), digits_data, 4, 0) is None


def test_the_nearest_training_image_is_found(digits_data):
    train = digits_data.space.to_user(digits_data.train.tensors()[0])
    rows = [5, 900, 1166]
    noisy = train[rows] + 0.01
    assert torch.equal(nearest_images(noisy, digits_data), train[rows])


def test_a_page_gets_pictures_of_images_and_of_rows(digits_data):
    shown = model_pictures(VAE((1, 8, 8), 4, (16,)), digits_data, 0)
    assert shown.drawn.shape == shown.means.shape == shown.nearest.shape == (picture_size(digits_data), 1, 8, 8)
    assert data_pictures(digits_data).nearest.shape == (64, 1, 8, 8)
    points = pyrogen.load("moons")
    shown = model_pictures(Gaussian((2,)), points, 0)
    assert shown.drawn.shape == (2000, 2)
    assert shown.means is None
    assert shown.nearest is None
    assert data_pictures(points).nearest is None
