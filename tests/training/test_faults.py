"""A run whose machine fails it: no room, a removed folder, signals. What was written stays, and the run goes on."""

import os
import resource
import shutil
import signal
import sys
import time
from threading import Timer

import forked
import pytest
import torch
from forked import CONTEXT, pyrogen
from safetensors.torch import load_file

import pyrogen.training.checkpoint as checkpoint
from pyrogen.training import configure, signals
from pyrogen.training.run import Run

STEPS = 60
OPTIONS = {"steps": STEPS, "batch_size": 64, "hidden": (8,), "latent": 2}
LARGEST = 2500
"""Bytes of the largest file that can be written once room is short."""


def create(path):
    return Run.create(path, configure("vae", "digits", seed=5, options=OPTIONS)).path


def no_room():
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, resource.RLIM_INFINITY))


def at_opening(name, then, times=1):
    """Call ``then`` before a file whose path has ``name`` in it is opened for the ``times``-th time."""
    left = times

    def hook(event, arguments):
        nonlocal left
        if event == "open" and name in str(arguments[0]):
            left -= 1
            if left == 0:
                then()

    sys.addaudithook(hook)


def at_saving(then, times):
    """Call ``then`` before the ``times``-th checkpoint is written."""
    save, left = checkpoint.save, times

    def saving(*args, **parts):
        nonlocal left
        left -= 1
        if left == 0:
            then()
        return save(*args, **parts)

    checkpoint.save = saving


def faulty(run, name):
    """Continue a run until ``name`` is written, which fails."""
    at_saving(no_room, 2) if name == "checkpoint" else at_opening(name, no_room, 10 if "metrics" in name else 1)
    pyrogen("resume", run)


def timeless(run):
    return [{k: v for k, v in row.items() if not k.endswith(("seconds", "second"))} for row in Run.open(run).metrics()]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    run = create(tmp_path_factory.mktemp("untouched") / "run")
    assert forked.run(pyrogen, "resume", run, folder=run).returncode == 0
    return run


def assert_finishes_like(run, untouched):
    done = forked.run(pyrogen, "resume", run, folder=run)
    assert done.returncode == 0, done.stderr
    weights, expected = (load_file(checkpoint.newest(path) / "weights.safetensors") for path in (run, untouched))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert timeless(run) == timeless(untouched)
    assert {path.name for path in run.rglob("*")} == {path.name for path in untouched.rglob("*")}  # no leftovers


def test_no_room_at_each_file(untouched, tmp_path):
    """After each failure the run goes on from its checkpoint, and fails at the next file."""
    run, t = create(tmp_path / "run"), 0
    for name in ("checkpoint", "metrics.jsonl", ".00000030.png", ".curves.png"):
        done = forked.run(faulty, run, name, folder=tmp_path)
        lines = done.stderr.splitlines()
        assert done.returncode == 2, done.stderr
        assert lines[-1].startswith("pyrogen: cannot write ")
        assert str(run) in lines[-1]
        assert "File too large (" in lines[-1]
        assert " bytes needed)" in lines[-1]
        assert "Traceback" not in done.stderr
        before, t = t, int(checkpoint.newest(run).name.split("-")[1])
        assert t >= before
    assert_finishes_like(run, untouched)
    done = forked.run(sample_without_room, run, folder=tmp_path)
    assert done.returncode == 2
    assert "new.npy: File too large (20,608 bytes needed)" in done.stderr
    assert not list(tmp_path.glob(".*"))


def sample_without_room(run):
    no_room()
    pyrogen("sample", run, "--n", 80, "--out", "new.npy")


def removed(run):
    at_saving(lambda: shutil.rmtree(run), 3)
    pyrogen("resume", run)


def test_a_removed_folder_is_not_made_again(tmp_path):
    run = create(tmp_path / "run")
    done = forked.run(removed, run, folder=tmp_path)
    assert done.returncode == 2
    assert f"{run}: the run folder was removed or renamed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def stopped(run, ignore_hangup, *signums):
    """Stop the run by signals at its fifth checkpoint, with standard error gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(reader)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignore_hangup else signal.SIG_DFL)
    signals.REPEATED_SECONDS = 1.0  # however busy the machine is
    first, *rest = signums

    def send():
        Timer(0.1, lambda: [os.kill(os.getpid(), signum) for signum in rest]).start()
        os.kill(os.getpid(), first)

    at_saving(send, 5)
    pyrogen("resume", run)


@pytest.mark.parametrize(
    ("signums", "ignore_hangup", "status"),
    [
        ([signal.SIGHUP, signal.SIGHUP], False, 129),  # a terminal that is closed sends it twice
        ([signal.SIGTERM, signal.SIGTERM], False, 143),  # as `timeout` does
        ([signal.SIGHUP], True, 0),  # as `nohup` does
    ],
)
def test_a_signal_ends_a_run_after_a_checkpoint(untouched, tmp_path, signums, ignore_hangup, status):
    run = create(tmp_path / "run")
    process = CONTEXT.Process(target=stopped, args=(run, ignore_hangup, *signums))
    process.start()
    process.join(300)
    assert process.exitcode == status
    assert checkpoint.newest(run).name == f"checkpoint-{STEPS if status == 0 else 16:08d}"
    assert_finishes_like(run, untouched)


def hanging(run, waiting):
    """Hang in the middle of the third checkpoint."""

    def hang(_):
        waiting.set()
        while True:
            time.sleep(60)

    def begin():
        os.fsync = hang

    at_saving(begin, 3)
    pyrogen("resume", run)


def test_a_second_interrupt_leaves_at_once(untouched, tmp_path):
    run, waiting = create(tmp_path / "run"), CONTEXT.Event()
    process = CONTEXT.Process(target=hanging, args=(run, waiting))
    process.start()
    assert waiting.wait(300)
    os.kill(process.pid, signal.SIGINT)
    process.join(1)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == -signal.SIGINT
    assert checkpoint.newest(run).name == "checkpoint-00000006"
    assert_finishes_like(run, untouched)
