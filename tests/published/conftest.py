"""What the slow reproductions share: two threads, a judge of digits, and a run of a recipe on MNIST."""

import os
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pyrogen
from pyrogen.data import batches
from pyrogen.training import configure, train
from pyrogen.training.run import Run, free_path


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(int(os.environ.get("PYROGEN_TEST_THREADS", "2")))
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
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
        F.cross_entropy(net(data.space.to_user(x)), y).backward()
        optimizer.step()
        schedule.step()

    @torch.no_grad()
    def classify(images):
        return torch.cat([net(part).softmax(1) for part in images.split(1000)])

    x, y = data.test.tensors()
    assert float((classify(data.space.to_user(x)).argmax(1) == y).float().mean()) > 0.985
    return classify


@pytest.fixture
def trained(tmp_path, mnist_root):
    """``trained(model, data, precision, **options) -> (result, seconds)``: a recipe's whole run on MNIST."""

    def run(model, data, precision="32", **options):
        config = configure(model, data, data_root=str(mnist_root), precision=precision, options=options)
        began = time.perf_counter()
        result = train(Run.create(free_path(tmp_path / "run"), config))
        return result, time.perf_counter() - began

    return run
