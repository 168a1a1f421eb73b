"""Models of one comparison that several processes train and score."""

import errno
import fcntl
import json
import os
import socket
import sys
import warnings
from pathlib import Path

import forked
import numpy as np
import pytest

import pyrogen
from pyrogen.cli import console
from pyrogen.cli.compare import run_and_show
from pyrogen.comparison import ComparisonConfig, prepare, run_comparison
from pyrogen.comparison.compare import help_comparison
from pyrogen.comparison.scoring import Scorer
from pyrogen.errors import DataWarning, Diverged, RunError, RunWarning
from pyrogen.locks import locked
from pyrogen.training.run import Run

pytestmark = pytest.mark.usefixtures("quick_measures")

SETTINGS = {"steps": 4, "batch_size": 16, "features": ("values",), "seeds": 2}
MODELS = ["gaussian", "gaussian:covariance=diagonal"]
CLOCKS = ("train_seconds", "sample_seconds")


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).normal(size=(200, 2))


@pytest.fixture
def scored(monkeypatch):
    """The seeds of the models that this process has scored."""
    seeds, score = [], Scorer.__call__

    def noted(self, model, data=None):
        seeds.append(self.seed)
        return score(self, model, data)

    monkeypatch.setattr(Scorer, "__call__", noted)
    return seeds


@pytest.fixture
def process(monkeypatch):
    """Makes this process one of two."""

    def number(rank):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))

    return number


def timeless(card):
    models = {
        name: {key: value for key, value in entry.items() if key not in CLOCKS}
        for name, entry in card["models"].items()
    }
    return models, card["anchors"], card["comparisons"]


def reopened(run):
    return Run.open(run.path, ComparisonConfig)


def test_what_others_have_done_is_taken(data, scored, process, tmp_path):
    alone = pyrogen.compare(MODELS, data, out=tmp_path / "alone", **SETTINGS)
    run = prepare(MODELS, data, out=tmp_path / "shared", **SETTINGS)
    scored.clear()
    process(1)
    with locked(run.path / ".gaussian-seed1.lock") as mine:
        assert mine is True
        help_comparison(reopened(run))
    assert sorted(scored) == [0, 0, 1]  # it has left what is locked
    scored.clear()
    process(0)
    shared = run_comparison(reopened(run))
    assert scored == [1]
    assert timeless(shared) == timeless(alone)
    pages = [(tmp_path / name / "report.html").read_text().count("<img") for name in ("alone", "shared")]
    assert pages[0] == pages[1]


def test_the_first_process_waits_for_the_others(data, scored, process, monkeypatch, tmp_path):
    run = prepare(MODELS[:1], data, out=tmp_path / "c", **SETTINGS | {"seeds": 1})
    held, waited = locked(run.path / ".gaussian.lock"), []

    def pause(seconds):
        assert scored == []
        waited.append(seconds)
        if len(waited) == 3:
            held.__exit__(None, None, None)

    monkeypatch.setattr("pyrogen.comparison.sharing.time.sleep", pause)
    process(0)
    held.__enter__()
    run_comparison(reopened(run))
    assert len(waited) == 3
    assert scored == [0]


def test_a_model_that_failed_elsewhere_is_tried_by_the_first(data, process, monkeypatch, tmp_path):
    run = prepare(MODELS[:1], data, out=tmp_path / "c", **SETTINGS | {"seeds": 1})
    tried = []

    def fail(*_, **__):
        tried.append(os.environ["RANK"])
        raise Diverged("step 3: the loss is nan", "try another one")

    monkeypatch.setattr("pyrogen.comparison.results.train", fail)
    process(1)
    help_comparison(reopened(run))
    process(0)
    card = run_comparison(reopened(run))
    assert card["models"]["gaussian"]["error"] == "step 3: the loss is nan: try another one"
    assert tried == ["1", "0"]


def test_a_file_system_without_locks_is_refused(data, process, monkeypatch, tmp_path):
    run = prepare(MODELS, data, out=tmp_path / "c", **SETTINGS)

    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    process(1)
    with pytest.raises(RunError, match=r"its file system has no locks \(.*\); compare in one process"):
        help_comparison(reopened(run))


def as_process(rank, port, *arguments):
    """Run a command as torchrun would."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(number) for name, number in numbers.items()}}
    forked.pyrogen(*arguments)


def warning(rank):
    """A process of a comparison whose run warns, and whose data do."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}

    def warn(*_, **__):
        warnings.warn("a row is constant", DataWarning, stacklevel=1)
        warnings.warn("the posterior has collapsed", RunWarning, stacklevel=1)

    sys.modules["pyrogen.comparison.compare"].help_comparison = warn
    with console.user_warnings():
        run_and_show(Run(Path("c"), None), as_json=False)


def test_each_process_warns_of_its_own_runs(tmp_path):
    done = forked.Started(warning, 1, folder=tmp_path).ended(100)
    assert done.stderr.splitlines() == ["process 1: pyrogen: warning: the posterior has collapsed"]


@pytest.mark.parametrize(
    "command",
    [
        ("compare", *MODELS, "--features", "values"),
        ("train", "gaussian", "--sweep", "--set", "covariance=full,diagonal"),
    ],
    ids=["compare", "sweep"],
)
def test_two_processes_write_one_scorecard(data, command, tmp_path):
    np.save(tmp_path / "x.npy", data)
    settings = ("--data", "x.npy", "--steps", 4, "--batch-size", 16, "--device", "cpu")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [forked.Started(as_process, r, port, *command, *settings, folder=tmp_path) for r in range(2)]
    first, second = (process.ended(100) for process in started)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert second.stdout == second.stderr == ""
    assert first.stderr.count("report: ") == 1
    (folder,) = Path(tmp_path, "runs").iterdir()
    card = json.loads((folder / "scores.json").read_text())
    assert list(card["models"].values())[1]["family"] == "explicit"
    assert len(list(folder.glob("scored/gaussian*"))) == 2
    resumed = [forked.Started(as_process, r, port, "resume", folder, folder=tmp_path) for r in range(2)]
    assert [process.ended(100).returncode for process in resumed] == [0, 0]
    assert json.loads((folder / "scores.json").read_text()) == card
