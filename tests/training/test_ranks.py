"""Several processes train as one: the same losses and weights, one folder, and an end for all where one ends."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from math import isclose
from pathlib import Path

import forked
import pytest
import rank_cases
import torch

from pyrogen.cli import main
from pyrogen.data import batches
from pyrogen.errors import ConfigError
from pyrogen.training.distributed import joined
from pyrogen.training.run import Run
from pyrogen.training.trainer import train

WORLDS = (1, 2, 4)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What ``rank_cases.together`` finds, by the number of processes and their own; workers of xdist share it."""
    workers = "PYTEST_XDIST_WORKER" in os.environ
    root = tmp_path_factory.getbasetemp().parent if workers else tmp_path_factory.getbasetemp()
    with (root / "ranks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for world in WORLDS:
            folder = root / f"of-{world}"
            if not (folder / "done").exists():
                folder.mkdir(exist_ok=True)
                started = [forked.Started(rank_cases.together, r, world, folder, folder=folder) for r in range(world)]
                for done in [process.ended(240) for process in started]:
                    assert done.returncode == 0, done.stderr
                (folder / "done").touch()
    return {
        world: [json.loads((root / f"of-{world}" / f"found-{r}.json").read_text()) for r in range(world)]
        for world in WORLDS
    }


@pytest.mark.parametrize("world", WORLDS[1:])
@pytest.mark.parametrize("case", rank_cases.CASES)
def test_one_loss_curve(found, case, world):
    alone = found[1][0]["curves"][case]
    for process in found[world]:
        rows = process["curves"][case]
        assert [row.keys() for row in rows] == [row.keys() for row in alone]
        for row, expected in zip(rows, alone, strict=True):
            for name, value in row.items():
                assert isclose(value, expected[name], rel_tol=1e-8, abs_tol=1e-12), (name, value, expected[name])


@pytest.mark.parametrize("case", rank_cases.REFUSED)
def test_what_cannot_be_added_up_is_refused_in_all_processes(found, case):
    said = {process["refused"].get(case, "").split("\n")[0] for process in found[2]}  # Pyro adds shapes
    assert len(said) == 1
    assert rank_cases.REFUSED[case][1] in str(said.pop())


def test_each_process_draws_its_own_noise(found):
    drawn = torch.tensor(found[4][0]["draws"])[:, 1:]  # in the first step, parameters are made
    assert len(drawn.flatten().unique()) == drawn.numel()


def test_parts_of_a_batch_are_the_batch():
    x = torch.arange(50.0).view(50, 1)
    whole = batches(x, 7, seed=3, start=5)
    parts = [batches(x, 7, seed=3, start=5, part=lambda n, where=where: where) for where in (slice(0, 3), slice(3, 7))]
    for _ in range(9):
        assert torch.equal(torch.cat([next(part)[0] for part in parts]), next(whole)[0])


@pytest.mark.parametrize(("strategy", "said"), [("fsdp", "cannot train a pair of Pyro programs"), ("dp", "known: ddp")])
def test_other_strategies_are_refused(strategy, said):
    with pytest.raises(ConfigError, match=said), joined(strategy=strategy):
        pass


def test_what_is_not_shared_is_done_by_the_first_process(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pyrogen", "models"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    main()
    assert capsys.readouterr() == ("", "")


def test_a_process_that_dies_ends_the_others(tmp_path):
    started = [forked.Started(rank_cases.dying, r, 2, tmp_path, folder=tmp_path) for r in range(2)]
    first, last = (process.ended(60) for process in started)
    assert last.returncode == 1
    assert first.returncode == 1
    assert "RunError: process 0 of 2 lost the connection to the others" in first.stderr


def logged(folder, t):
    """Whether a run has logged step ``t`` or a later one."""
    return (folder / "metrics.jsonl").exists() and any(row["t"] >= t for row in Run.open(folder).metrics())


def test_torchrun_is_stopped_and_the_run_goes_on_in_one_process(tmp_path):
    folder = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={port}"]
    command = ["train", "vae", "--data", "digits", "--steps", "100000", "--no-compile", "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [sys.executable, *launch, "-m", "pyrogen", *command], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        until = time.monotonic() + 200
        while not logged(folder, 500) and time.monotonic() < until:
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=100)[1]
    finally:
        running.kill()
    assert said.count("stopped; continue with `pyrogen resume") == 1
    run = Run.open(folder)
    t = int(next(folder.glob("checkpoint-*")).name.split("-")[1])
    assert t >= run.metrics()[-1]["t"] >= 500
    assert train(run, steps=t + 20, pictures=False).t == t + 20
    assert not Path(folder, "samples").exists()
