"""The relativistic GAN finds all modes, where they can be counted; minutes each, so marked slow.

PYROGEN_DATA=… pytest tests/published/test_modes.py -m slow -n 0 -s
"""

import time

import pytest
import torch

import pyrogen
from pyrogen.measure import get_classifier, in_chunks, mode_count_scores, mode_scores, stacked_modes
from pyrogen.recipes import recipe
from pyrogen.training import ExponentialMovingAverage

GRID = {"n_binary": 8}
STACKED = {  # options of the recipe, and the largest reverse KL in nats
    "stacked-digits": ({"steps": 8000}, 0.2),
    "stacked-mnist": ({"steps": 20_000, "layers": 3}, 0.2),
}
IMAGES = {"latent": 128, "r1": 0.1, "r1_start": 0.0, "lr": 5e-4, "batch_size": 64, "average": 0.999}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]


def trained_average(data, seed, **given):
    """The averaged model at the end of a run of the recipe, and the seconds that it took."""
    make = recipe("relativistic-gan")
    options = make.bind(given)
    torch.manual_seed(seed)
    setup = make(data, **given)
    average = ExponentialMovingAverage(setup.model, setup.average)
    began = time.perf_counter()
    for _ in pyrogen.fit(setup.step, data.train, steps=options["steps"], batch_size=options["batch_size"], seed=seed):
        average.update(setup.model)
    return average.module, time.perf_counter() - began


@pytest.mark.parametrize("seed", [0])
def test_all_modes_of_the_grid(seed):
    """PacGAN's protocol; its best row has 24.8 modes, 93.6% of high quality and a reverse KL of 0.04."""
    data = pyrogen.load("grid", seed=seed)
    model, seconds = trained_average(data, seed, **GRID)
    scores = mode_scores(data.space.to_user(model.sample(2500)), data.truth.modes, data.truth.std)
    print(f"grid, seed {seed}, {seconds:.0f} s:", {name: round(float(s.value), 4) for name, s in scores.items()})
    assert scores["modes"].value == 25
    assert scores["high_quality"].value >= 0.957
    assert scores["reverse_kl"].value <= 0.04


@pytest.mark.parametrize("name", STACKED)
def test_all_modes_of_stacked_digits(name, tmp_path, request):
    """26,000 samples, read by a classifier of single digits; PacGAN reports 1,000 modes and 0.06 nats."""
    root = request.getfixturevalue("mnist_root") if name == "stacked-mnist" else None
    data, single = (pyrogen.load(n, root) for n in (name, name.removeprefix("stacked-")))
    classifier = get_classifier(single, tmp_path / "classifier")
    options, largest = STACKED[name]
    model, seconds = trained_average(data, 0, **IMAGES, **options)
    images = data.space.to_user(in_chunks(model, 26_000))
    scores = mode_count_scores(stacked_modes(images, classifier), 1000)
    print(f"{name}, {seconds:.0f} s:", {name: round(float(s.value), 4) for name, s in scores.items()})
    assert scores["modes"].value == 1000
    assert scores["reverse_kl"].value <= largest
