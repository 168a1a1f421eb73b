"""Nothing accumulates: neither in a long run, nor from one model to the next in one process."""

import gc
import os
import weakref
from collections import Counter
from pathlib import Path

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn
from torch.optim import Adam

import pyrogen
from pyrogen.explicit import VAE
from pyrogen.training import configure, train
from pyrogen.training.run import Run

X = (torch.rand(64, 20, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def living() -> Counter[str]:
    """The objects alive, of the kinds that hold memory."""
    gc.collect()
    kinds = Counter(type(thing) for thing in gc.get_objects())
    return Counter({kind.__name__: kinds[kind] for kind in (torch.Tensor, nn.Parameter, Adam, Figure, Axes)})


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by Linux's /proc")
def test_a_run_with_checkpoints_and_pictures_keeps_nothing(tmp_path):
    options = {"steps": 80, "batch_size": 64, "hidden": (8,), "latent": 2}
    run = Run.create(tmp_path / "run", configure("vae", "digits", options=options))
    seen = {}

    def watch(row):
        if row["t"] in (45, 63, 79):  # after curves, at 20 and 40; those at 60 and two pictures lie between
            seen[row["t"]] = living(), open_files()

    train(run, watch)
    assert seen[45] == seen[63] == seen[79]


def trained(i):
    """References to a model and its step after a few steps of training."""
    if i % 2:
        model: nn.Module = VAE((20,), latent=2, hidden=(8,))
        step = pyrogen.SVI(model.model, model.guide, compile=i == 29)
    else:
        model = nn.ModuleDict({"generator": nn.Linear(2, 20), "critic": nn.Linear(20, 1)})
        step = pyrogen.AdversarialGame(
            model["generator"], model["critic"], lambda n: torch.randn(n, 2), compile=i == 28
        )
    for _ in pyrogen.fit(step, X, steps=4, batch_size=32):
        pass
    return weakref.ref(model), weakref.ref(step)


def test_thirty_models_in_one_process_leave_none_behind():
    references = [trained(i) for i in range(2)]
    before, modules = living(), len(pyrogen.training.seen._notes)
    references += [trained(i) for i in range(2, 30)]
    assert living() - before == Counter()
    assert [r() for pair in references for r in pair] == [None] * 60
    assert len(pyrogen.training.seen._notes) <= modules
