"""A loop of one's own that is killed and started again ends as one that was never touched, whatever its data are."""

import multiprocessing
import os
from functools import partial

import numpy as np
import pytest
import torch
from forked import CONTEXT
from PIL import Image
from safetensors.torch import load_file
from torch.optim import Adam
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import pyrogen
from pyrogen.data import memmap
from pyrogen.training.checkpoint import newest

STEPS, EVERY = 80, 5
SOURCES = ["array", "memory map", "pictures", "loader"]


class Noisy(TorchDataset):
    """Rows with noise drawn by numpy whenever they are read."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return (self.x[i] + 0.1 * np.random.rand()).clamp(max=1)


def rows(kind, folder):
    """Training data, and validation data in memory."""
    if kind in ("memory map", "pictures"):
        memmap.DISK_THRESHOLD = 0
    data = pyrogen.load(folder / ("pictures" if kind == "pictures" else "x.npy"))
    valid = data.valid.tensors()[0]
    if kind == "loader":
        noisy = Noisy(data.train.tensors()[0])
        own = torch.Generator().manual_seed(3)
        return DataLoader(noisy, batch_size=16, shuffle=True, num_workers=1, generator=own), valid
    return data.train, valid


def loop(kind, folder, out, killed_at):
    """The loop of ``docs/training.md``, which is ended by the operating system at step ``killed_at``."""
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of workers: a fork server of their own would start slowly
    train, valid = rows(kind, folder)
    torch.manual_seed(0)
    vae = pyrogen.explicit.VAE((1, 4, 4), latent=2, hidden=(16,))
    step = pyrogen.SVI(vae.model, vae.guide, optim=partial(Adam, lr=0.1))
    stop = pyrogen.EarlyStopping(patience=1)
    parts = {"model": vae, "step": step, "stop": stop}
    start = pyrogen.restore(out, **parts) if out.exists() else 0
    workers = 1 if kind in ("memory map", "pictures") else None
    last = start if stop.stopped else STEPS
    for t, _ in pyrogen.fit(step, train, steps=last, batch_size=16, seed=1, start=start, workers=workers):
        if t % EVERY == 0:
            enough = stop.after(float(step.evaluate(valid)["loss"]))
            pyrogen.save(out, t=t, **parts)
            if enough:
                break
        if t == killed_at:
            os._exit(9)


def run(*args, status=0):
    process = CONTEXT.Process(target=loop, args=args)
    process.start()
    process.join(120)
    assert process.exitcode == status


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    x = np.random.default_rng(0).integers(0, 256, (80, 4, 4), dtype=np.uint8)
    np.save(folder / "x.npy", x)
    (folder / "pictures").mkdir()
    for i, pixels in enumerate(x):
        Image.fromarray(pixels).save(folder / "pictures" / f"{i}.png")
    return folder


@pytest.mark.parametrize("kind", SOURCES)
def test_a_killed_loop_ends_as_one_that_was_never_touched(kind, folder, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(kind, folder, whole, -1)
    run(kind, folder, cut, EVERY + 2, status=9)  # in the middle of an epoch, between two checkpoints
    for _ in range(1 + (kind == "array")):  # a loop that has stopped has nothing left to do
        run(kind, folder, cut, -1)
        assert newest(cut).name == newest(whole).name
    assert newest(whole).name < f"checkpoint-{STEPS:08d}"  # stopped by its scores, which are those of the other
    first, second = (load_file(newest(out) / "weights.safetensors") for out in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)
