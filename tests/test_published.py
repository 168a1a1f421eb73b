"""The figures that the documentation states, trained to in full: minutes each, so marked slow.

PYROGEN_DATA=… pytest tests/test_published.py -m slow -n 0
"""

import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pyrogen
from pyrogen.data import batches
from pyrogen.measure.coverage import mode_scores
from pyrogen.measure.evaluate import draw
from pyrogen.train.runs import Run
from pyrogen.training import configure, evaluate_run, train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def judge(mnist_root):
    """A small convolutional classifier of real MNIST: ``judge(images) -> class probabilities``."""
    data = pyrogen.load("mnist", mnist_root)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=1500)
    for _, (x, y) in zip(range(1500), batches(data.train, 128), strict=False):
        optimizer.zero_grad()
        F.cross_entropy(net(data.measure.to_image(x)), y).backward()
        optimizer.step()
        schedule.step()

    @torch.no_grad()
    def classify(images):
        return torch.cat([net(part).softmax(1) for part in images.split(1000)])

    x, y = data.test.tensors()
    assert float((classify(data.measure.to_image(x)).argmax(1) == y).float().mean()) > 0.985
    return classify


def trained(tmp_path, mnist_root, model, data, **options):
    config = configure(model, data, data_root=str(mnist_root), options=options)
    began = time.perf_counter()
    result = train(Run.create(tmp_path / "run", config))
    return result, time.perf_counter() - began


@pytest.mark.parametrize(("options", "seconds", "nats"), [({"steps": 4000}, 60, 97.0), ({}, 240, 91.0)])
def test_vae_on_binary_mnist(tmp_path, mnist_root, options, seconds, nats):
    result, _ = trained(tmp_path, mnist_root, "vae", "mnist-binary", **options)
    scores = evaluate_run(result.run, k=100)["scores"]
    spent = result.run.metrics()[-1]["seconds"]
    print(f"{spent:.0f} s of training, ELBO {scores['elbo']['value']:.2f}, IWAE {scores['iwae']['value']:.2f}")
    assert -scores["elbo"]["value"] <= nats
    assert scores["iwae"]["kind"] == "lower_bound"
    assert scores["iwae"]["k"] == 100
    assert spent <= seconds


@torch.no_grad()
def test_cvae_draws_the_label_it_is_given(tmp_path, mnist_root, judge):
    result, _ = trained(tmp_path, mnist_root, "cvae", "mnist-binary", steps=8000)
    y = torch.arange(10).repeat(200)
    right = {
        name: float((judge(sample(len(y), y)).argmax(1) == y).float().mean())
        for name, sample in (("draws", result.model.sample), ("means", result.model.sample_mean))
    }
    print(right)
    assert min(right.values()) >= 0.97


@torch.no_grad()
def test_cvae_completes_from_one_quadrant(tmp_path, mnist_root):
    options = {"condition": "quadrants", "observed": 1, "steps": 4000}
    result, _ = trained(tmp_path, mnist_root, "cvae", "mnist-binary", **options)
    x, y = result.data.test.tensors()
    completed = result.model.sample_mean(len(x), y)
    hidden = y.isnan()
    assert torch.equal(completed[~hidden], x[~hidden])
    error = float((completed - x)[hidden].square().mean())
    mean = pyrogen.load("mnist-binary", mnist_root).train.tensors()[0].mean(0).expand_as(x)
    print(
        f"mean squared error of hidden pixels {error:.4f}, by the mean image {(mean - x)[hidden].square().mean():.4f}"
    )
    assert error < 0.8 * float((mean - x)[hidden].square().mean())
    assert -evaluate_run(result.run, k=20)["scores"]["elbo"]["value"] < 75


@torch.no_grad()
def test_dcgan_draws_recognisable_digits(tmp_path, mnist_root, judge):
    result, seconds = trained(tmp_path, mnist_root, "dcgan", "mnist")
    images = result.data.measure.to_image(draw(result.model, result.data, 5000, 0))
    confidence, label = judge(images).max(1)
    share = torch.bincount(label, minlength=10) / len(label)
    print(f"{seconds:.0f} s, confident {float((confidence >= 0.9).float().mean()):.3f}, classes {share.tolist()}")
    assert seconds < 600
    assert float((confidence >= 0.9).float().mean()) >= 0.8
    assert bool(((share >= 0.04) & (share <= 0.2)).all())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gan_finds_all_modes_of_the_ring(tmp_path, seed):
    result = train(Run.create(tmp_path / "run", configure("gan", "ring", seed=seed)))
    truth = result.data.truth
    scores = mode_scores(draw(result.model, result.data, 2500, 0), truth.modes, truth.std)
    print({name: score.value for name, score in scores.items()})
    assert scores["modes"].value == 8
    assert scores["high_quality"].value > 0.8


def test_wgan_critic_tracks_quality_within_its_clip(tmp_path, mnist_root):
    seen = []
    config = configure("wgan", "mnist", data_root=str(mnist_root), options={"steps": 6000})
    run = Run.create(tmp_path / "run", config)
    result = train(run, seen.append)
    assert all(float(p.abs().max()) <= config["options"]["clip"] + 1e-8 for p in result.model.critic.parameters())
    late = [-row["critic_loss"] for row in seen[-20:]]
    early = [-row["critic_loss"] for row in seen[5:25]]
    print(f"critic's distance {sum(early) / 20:.3f} -> {sum(late) / 20:.3f}")
    assert sum(late) < 0.7 * sum(early)
