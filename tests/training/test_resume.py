"""A run survives anything: kill -9, Ctrl-C, SIGTERM; the finished weights are those of a run that was never touched."""

import json
import os
import random
import shutil
import signal
import time
from functools import cache

import forked
import pytest
import torch
from forked import CONTEXT
from safetensors.torch import load_file

from pyrogen.errors import Diverged, RunError
from pyrogen.training import build, configure, open, train
from pyrogen.training.checkpoint import newest
from pyrogen.training.run import Run

STEPS = 240
OPTIONS = {
    "vae": {"steps": STEPS, "batch_size": 64, "hidden": (32,), "latent": 4},
    "wgan": {"steps": STEPS, "batch_size": 64, "hidden": (32,), "latent": 4},
}


def work(path):
    torch.set_num_threads(1)
    train(Run.open(path))


def begin(path):
    process = CONTEXT.Process(target=work, args=(path,))
    process.start()
    return process


def create(model, path):
    name, _, compiled = model.partition(", ")
    settings = {"compile": True} if compiled else {}
    return Run.create(path, configure(name, "digits", seed=11, options=OPTIONS[name], **settings)).path


def finish(path):
    process = begin(path)
    process.join(300)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untouched")

    @cache
    def run(model):
        finish(create(model, folder / model))
        return folder / model

    return run


def weights(path):
    return load_file(newest(path) / "weights.safetensors")


def assert_same_run(one, other):
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    timeless = [
        [{k: v for k, v in row.items() if k not in ("seconds", "examples_per_second")} for row in Run.open(p).metrics()]
        for p in (one, other)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(("model", "times"), [("vae", 6), ("wgan", 6), ("vae, compiled", 1)])
def test_killed_at_random_moments(model, times, untouched, tmp_path):
    reference = untouched(model)
    out = create(model, tmp_path / "run")
    moment = random.Random(model)
    kills = []
    for target in sorted(moment.sample(range(1, STEPS - 20), times)):
        process = begin(out)
        while process.is_alive() and (not (rows := Run.open(out).metrics()) or rows[-1]["t"] < target):
            time.sleep(0.002)
        time.sleep(moment.uniform(0, 0.03))
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills.append(target)
    assert len(kills) == times
    finish(out)
    assert_same_run(reference, out)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(signum, status, untouched, tmp_path):
    out = create("vae", tmp_path / "run")
    started = forked.Started(forked.pyrogen, "resume", out, folder=tmp_path)
    while not (out / "metrics.jsonl").exists():
        time.sleep(0.01)
    os.kill(started.process.pid, signum)
    done = started.ended(timeout=120)
    assert done.returncode == status
    assert "pyrogen resume" in done.stderr
    assert "Traceback" not in done.stderr
    newest(out)
    finish(out)
    assert_same_run(untouched("vae"), out)


def test_resume_of_a_finished_run_changes_nothing(untouched):
    path = untouched("vae")
    before = weights(path)
    finish(path)
    assert all(torch.equal(v, before[k]) for k, v in weights(path).items())


@pytest.mark.parametrize("model", ["vae", "wgan"])
def test_the_step_of_the_weights_survives(model, untouched):
    """That of the lowest validation loss, or the last of an average, also in another process."""
    run = Run.open(untouched(model))
    losses = {row["t"]: row["valid_loss"] for row in run.metrics() if "valid_loss" in row}
    weights = open(run.path).weights
    assert weights["step"] == (min(losses, key=losses.get) if losses else STEPS)
    assert weights["rule"].startswith("lowest validation loss" if model == "vae" else "average of weights")


def test_a_damaged_newest_checkpoint_costs_only_its_own_steps(untouched, tmp_path):
    out = shutil.copytree(untouched("vae"), tmp_path / "run")
    broken = newest(out)
    (broken / "state.json").write_bytes(b"broken")
    for left in (f".new-{os.getppid()}-0", f".old-{broken.name}-1-1"):
        shutil.copytree(broken, out / left)
    done = forked.run(forked.pyrogen, "resume", out, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "is damaged" in line]
    reason = f"{broken.name} is damaged (state.json does not have its checksum); checkpoint-00000228 is used"
    assert line == f"pyrogen: warning: {out}: {reason}"
    assert_same_run(untouched("vae"), out)
    assert not list(out.glob(".new-*")) + list(out.glob(".old-*"))


def test_folder_in_use_is_refused(tmp_path):
    out = create("vae", tmp_path / "run")
    process = begin(out)
    while not (out / "metrics.jsonl").exists():
        time.sleep(0.01)
    with pytest.raises(RunError, match="in use"):
        train(Run.open(out))
    process.kill()
    process.join()


def test_divergence_stops_with_the_reason_and_keeps_the_last_checkpoint(tmp_path):
    options = {"steps": 400, "batch_size": 64, "hidden": (16,), "latent": 2}
    run = Run.create(tmp_path / "run", configure("vae", "digits", options=options))

    def poison(row):
        if row["t"] == 200:
            with torch.no_grad():
                setup.model.offset.fill_(float("nan"))

    setup = build(run.config)
    with pytest.raises(
        Diverged, match=r"step 200: .* weight model\.offset itself .* --lr; the checkpoint of step 180 is"
    ):
        train(run, poison, setup)
    assert all(bool(v.isfinite().all()) for v in weights(run.path).values() if v.is_floating_point())
    json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])
