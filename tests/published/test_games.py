"""Generators of MNIST, judged in the features of the library's digit classifier; minutes each, so marked slow.

PYROGEN_DATA=… pytest tests/published/test_games.py -m slow -n 0 -s
"""

import pytest
import torch

import pyrogen
from pyrogen.measure.features import feature_scores, get_classifier
from pyrogen.measure.samples import draw_samples

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]


@pytest.fixture(scope="module")
def mnist(mnist_root):
    return pyrogen.load("mnist", mnist_root)


@pytest.fixture(scope="module")
def lenet(tmp_path_factory, mnist):
    return get_classifier(mnist, tmp_path_factory.mktemp("judge"))


def test_the_judge_of_digits(lenet, mnist):
    test = feature_scores(mnist.test.tensors()[0], mnist, lenet)
    print(f"right on {lenet.accuracy:.2%}", {name: round(score.value, 3) for name, score in test.items()})
    assert lenet.accuracy >= 0.99
    assert test["fid"].value < 3  # the distance of real data, which samples are set against
    assert test["inception_score"].value > 9.7


GAMES = {
    "smooth": (
        "dcgan",
        {"norm": "layer", "layers": 3, "r1": 0.02, "critic_rate": 3.0, "lr": 3e-4, "batch_size": 64, "steps": 30_000},
    ),
    "plain": ("dcgan", {"steps": 5000}),
    "long": ("dcgan", {"steps": 24_000}),
    "spectral": ("sngan", {"steps": 5000}),
}


@pytest.mark.parametrize("game", GAMES)
def test_generators_come_near_the_test_images(trained, mnist, lenet, game):
    """10,000 samples; the published WGAN-GP scores 1.61 times the FID of the test set (Bińkowski et al., 2018)."""
    name, options = GAMES[game]
    result, seconds = trained(name, "mnist", "bf16", **options)
    scores = feature_scores(draw_samples(result.model, mnist, 10_000, 0), mnist, lenet)
    ratios = {key: scores[key].detail["ratio"] for key in ("fid", "inception_score")}
    y = torch.arange(10).repeat(200)
    right = float((lenet(result.model.sample(len(y), y))[1].argmax(1) == y).float().mean())
    print(f"{game}: {ratios}, {right:.1%} in the asked class, {seconds:.0f} s;",
          {key: round(score.value, 4) for key, score in scores.items()})  # fmt: skip
    assert ratios["fid"] < 1.61
    assert ratios["inception_score"] >= 0.95
    assert right >= 0.97
    assert seconds < 3600
