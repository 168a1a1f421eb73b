"""A comparison that was killed goes on within the model it was at, and scores no model twice."""

import json
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import forked
import numpy as np
import pytest
import torch

import pyrogen
from pyrogen.comparison import ComparisonConfig, prepare, run_comparison
from pyrogen.comparison.progress import Progress
from pyrogen.comparison.scoring import Scorer
from pyrogen.comparison.stored import load_entry, save_entry
from pyrogen.protocols import Score
from pyrogen.report.pictures import Pictures
from pyrogen.training import checkpoint, configure
from pyrogen.training.run import Run

pytestmark = pytest.mark.usefixtures("quick_measures")

SMALL = {"batch_size": 16, "features": ("values",)}
MODELS = ["gaussian", "vae:latent=2:hidden=8", "gaussian:covariance=diagonal"]


class Stopped(Exception):
    """Somebody pulled the plug."""


@pytest.fixture
def scored(monkeypatch):
    """The classes of the models that were scored; after ``"stop"`` the next score is not completed."""
    calls, score = [], Scorer.__call__

    def noted(self, model, data=None):
        found = score(self, model, data)
        if calls[-1:] == ["stop"]:
            raise Stopped
        calls.append(type(model).__name__)
        return found

    monkeypatch.setattr(Scorer, "__call__", noted)
    return calls


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).normal(size=(200, 2))


def reopened(path):
    return Run.open(path, ComparisonConfig)


def timeless(card):
    """A scorecard without what a clock has measured, and without its place."""
    times = ("train_seconds", "sample_seconds")
    models = {
        name: {key: value for key, value in entry.items() if key not in times} for name, entry in card["models"].items()
    }
    return models, card["anchors"], card["comparisons"]


def test_what_was_scored_is_not_scored_again(data, scored, tmp_path):
    scored.append("stop")
    run = prepare(MODELS, data, out=tmp_path / "c", steps=4, **SMALL)
    with pytest.raises(Stopped):
        run_comparison(run)
    scored.clear()

    @contextmanager
    def show(title, steps):
        if title.endswith("model 3 of 3: gaussian:covariance=diagonal: scores"):
            scored.append("stop")
        yield None

    with pytest.raises(Stopped):
        run_comparison(reopened(run.path), show=show)
    assert scored == ["Gaussian", "VAE", "stop"]  # the first was trained, but not scored before
    scored.clear()
    trained = {path: path.stat().st_mtime_ns for path in run.path.glob("*/checkpoint-*")}
    card = run_comparison(reopened(run.path))
    assert scored == ["Gaussian"]
    assert trained == {path: path.stat().st_mtime_ns for path in run.path.glob("*/checkpoint-*")}
    scored.clear()
    again = run_comparison(reopened(run.path))
    assert scored == []
    assert again == card
    untouched = pyrogen.compare(MODELS, data, out=tmp_path / "d", steps=4, **SMALL)
    assert timeless(untouched) == timeless(card)


def test_scores_count_for_the_same_model_data_and_settings_alone(data, scored, tmp_path):
    card = pyrogen.compare(["gaussian"], data, out=tmp_path / "c", steps=4, **SMALL)
    path = Path(card["folder"])
    scored.clear()

    def scored_again():
        run_comparison(reopened(path), changed_data=True)
        found = len(scored)
        scored.clear()
        return found

    assert scored_again() == 0
    (entry,) = (path / "scored" / "gaussian").glob("checkpoint-*")
    state = (entry / "state.safetensors").read_bytes()
    (entry / "state.safetensors").write_bytes(state[:-1] + bytes([state[-1] ^ 1]))
    assert scored_again() == 1  # it was damaged
    shutil.rmtree(path / "gaussian" / "checkpoint-00000004")
    Run.open(path / "gaussian").rewind(0)
    assert scored_again() == 1  # it was trained again
    run = reopened(path)
    run.update(run.config.model_copy(update={"features": ()}))
    assert scored_again() == 1
    np.savez(path / "data.npz", x=data + 1)
    assert scored_again() == 1
    assert scored_again() == 0


def test_kept_entries_are_exact(tmp_path):
    score = Score(
        0.1, float("inf"), "exact", "nats", {"note": "a", "null": [0.4, 0.6]}, (0.0, 1.0), torch.rand(3).double()
    )
    entry = {"result": {"scores": {"s": score}, "verdict": None}, "pictures": Pictures(torch.rand(2, 2))}
    save_entry(tmp_path, "a", "key", entry, 3)
    found = load_entry(tmp_path, "a", "key")
    assert found["result"] == entry["result"]
    kept = found["result"]["scores"]["s"]
    assert torch.equal(kept.values, score.values)
    assert (kept.limits, kept.interval, kept.as_dict()) == (score.limits, score.interval, score.as_dict())
    assert torch.equal(found["pictures"].drawn, entry["pictures"].drawn)
    assert found["pictures"].means is None
    assert load_entry(tmp_path, "a", "other") is None
    assert load_entry(tmp_path, "b", "key") is None


def test_killed_in_the_second_model(data, tmp_path):
    """It is killed with SIGKILL after a checkpoint; the first model stays as it is, the second goes on from there."""
    np.save(tmp_path / "x.npy", data)
    steps, settings = 200, ("--batch-size", 16, "--features", "values", "--data", "x.npy")
    arguments = ("gaussian", "vae:latent=2:hidden=8", "--steps", steps, *settings)
    started = forked.Started(forked.pyrogen, "compare", *arguments, "--out", "c", folder=tmp_path)
    path = tmp_path / "c"
    second = path / "vae-latent=2-hidden=8"
    while started.process.is_alive() and not checkpoint.found(second):
        time.sleep(0.005)
    started.process.kill()
    killed = started.ended()
    assert killed.returncode == -signal.SIGKILL
    assert "model 2 of 2: vae:latent=2:hidden=8  step" in killed.stderr
    done = checkpoint.restore(second)
    assert 0 < done < steps
    first = {file: file.stat().st_mtime_ns for file in path.glob("*gaussian/checkpoint-*/*")}
    first |= {file: file.stat().st_mtime_ns for file in path.glob("scored/gaussian/checkpoint-*/*")}
    assert len({file.parts[-4] for file in first}) == 2
    resumed = forked.run(forked.pyrogen, "resume", "c", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert first == {file: file.stat().st_mtime_ns for file in first}
    assert "model 1 of 2" not in resumed.stderr
    lines = [
        line for line in resumed.stderr.splitlines() if line.startswith("model 2 of 2: vae:latent=2:hidden=8  step")
    ]
    assert all(int(line.split("step ")[1].split("/")[0]) > done for line in lines)
    untouched = forked.run(forked.pyrogen, "compare", *arguments, "--out", "d", "--json", folder=tmp_path)
    card, other = (json.loads((tmp_path / name / "scores.json").read_text()) for name in "cd")
    assert untouched.returncode == 0
    assert timeless(card) == timeless(other)


def test_what_is_shown(data, tmp_path):
    shown = []

    @contextmanager
    def show(title, steps):
        rows = []
        shown.append((title, steps, rows))
        yield rows.append

    own = {"mine": pyrogen.explicit.Gaussian.from_data(pyrogen.load(data, seed=1).train.tensors()[0], "full")}
    pyrogen.compare(MODELS[:2], data, own=own, out=tmp_path / "c", steps=4, seed=1, show=show, **SMALL)
    vae = "model 3 of 3: vae:latent=2:hidden=8"
    assert [(title, steps) for title, steps, _ in shown] == [
        ("model 1 of 3: mine: scores", 0),
        ("model 2 of 3: gaussian", 4),
        ("model 2 of 3: gaussian: scores", 0),
        (vae, 4),
        (f"{vae}: scores", 0),
        ("anchors: scores", 0),
    ]
    for _, steps, rows in shown:
        assert [row["t"] for row in rows] == list(range(1, steps + 1))
        assert all(row["seconds_left"] >= 0 for row in rows)


@pytest.mark.parametrize(("settings", "left"), [({"options": {"steps": 100}}, 30.0), ({"seconds": 20.0}, 10.0)])
def test_the_time_left_of_the_comparison(settings, left):
    """After a model of 50 s and 4 s of scores, at 10 s of the second of three; by its pace it takes 40 s."""
    rows = []

    @contextmanager
    def show(title, steps):
        yield rows.append

    progress = Progress(show, models=3, seeds=1)
    progress.begin("a")
    progress.done(50.0, 4.0)
    progress.begin("b")
    with progress.training(0, configure("gaussian", **settings)) as watch:
        watch({"t": 25, "seconds": 10.0})
    third = (50.0 + (40.0 if left == 30.0 else 20.0)) / 2
    assert rows[0]["seconds_left"] == pytest.approx(left + third + (2 + 2) * 4.0)
