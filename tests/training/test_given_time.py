"""Runs of a given time, by a clock of the test's own: when they end, what counts, and how schedules are planned."""

import os
import signal
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from pyrogen.errors import ConfigError
from pyrogen.training import configure, open_or_train, train, trainer
from pyrogen.training.budget import FINE, STAGES, Stage
from pyrogen.training.run import Run
from pyrogen.training.signals import Interrupted

OPTIONS = {"hidden": (8,), "latent": 2, "batch_size": 32}


@dataclass
class Clock:
    """Time passes in steps alone, and where a test says so.

    Attributes:
        now: the time in seconds.
        pace: the seconds of a step, by its number.
        compiled: how much of the time is compilation.
        stop_at: the step in which the process gets SIGINT.
        plans: the numbers of steps for which each stage was planned.
    """

    now: float = 0.0
    pace: object = lambda t: 0.01
    compiled: float = 0.0
    stop_at: int = 0
    plans: list = field(default_factory=list)

    def fit(self, *args, steps, start, **settings):
        self.plans.append(steps)
        for t, logs in FIT(*args, steps=steps, start=start, **settings):
            self.now += self.pace(t)
            if t == self.stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            yield t, logs


FIT = trainer.fit


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    module = "pyrogen.training.monitoring.metric_averager"
    monkeypatch.setattr(f"{module}.time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(f"{module}.compiling_seconds", lambda: clock.compiled)
    monkeypatch.setattr("pyrogen.training.trainer.fit", clock.fit)
    # Whatever is no step takes long.
    for name in ("_begin", "validate", "_draw", "_save", "build"):
        monkeypatch.setattr(f"pyrogen.training.trainer.{name}", slow(getattr(trainer, name), clock))
    return clock


def slow(function, clock):
    def call(*args, **kwargs):
        clock.now += 3.0
        return function(*args, **kwargs)

    return call


def begin(path, model="vae", **settings):
    return Run.create(path / "run", configure(model, "digits", options=OPTIONS, **settings))


def test_a_run_ends_with_the_step_in_which_its_time_is_up(clock, tmp_path):
    run = begin(tmp_path, seconds=1.0)
    trained = train(run)
    assert 100 <= trained.t <= 101
    last = run.metrics()[-1]
    assert (last["t"], last["seconds"]) == (trained.t, pytest.approx(1.0, abs=0.011))
    assert (run.path / "samples" / f"{trained.t:08d}.png").exists()
    assert Run.open(run.path).config.options["steps"] == trained.t
    assert train(Run.open(run.path)).t == trained.t  # there is nothing left


def test_the_schedule_follows_the_pace(clock, tmp_path):
    clock.pace = lambda t: 0.01 if t <= 20 else 0.03
    trained = train(begin(tmp_path, seconds=1.0))
    assert 46 <= trained.t <= 48
    assert len(clock.plans) <= len(STAGES)
    assert [abs(plan - trained.t) <= 1 for plan in clock.plans] == [False] * (len(clock.plans) - 2) + [True, True]
    schedule = trained.step.state_dict()["schedule"]
    assert schedule["_last_lr"][0] < 1e-3 * schedule["base_lrs"][0]


def test_time_before_an_interruption_counts_and_no_other(clock, tmp_path):
    clock.stop_at = 33
    run = begin(tmp_path, seconds=1.0)
    with pytest.raises(Interrupted):
        train(run)
    assert run.metrics()[-1]["t"] < 34
    clock.stop_at, clock.now = 0, clock.now + 1000.0
    trained = train(Run.open(run.path))
    assert 100 <= trained.t <= 101
    assert run.metrics()[-1]["seconds"] == pytest.approx(1.0, abs=0.011)


def test_compilation_is_no_training(clock, tmp_path):
    def pace(t):
        clock.compiled += 20.0 * (t == 7)
        return 0.01 + 20.0 * (t == 7)

    clock.pace = pace
    run = begin(tmp_path, seconds=0.5)
    assert 50 <= train(run).t <= 51
    assert run.metrics()[-1]["seconds"] == pytest.approx(0.5, abs=0.011)
    assert run.metrics()[-1]["examples_per_second"] == pytest.approx(3200, rel=0.01)


@pytest.mark.parametrize("model", ["pca", "ppca"])
def test_a_fit_in_closed_form_does_not_use_the_time(clock, model, tmp_path):
    run = Run.create(tmp_path / "run", configure(model, "digits", options={"batch_size": 32}, seconds=1000.0))
    assert train(run).t == 1
    assert [row["t"] for row in run.metrics()] == [1]
    assert (run.path / "curves.png").exists()
    assert train(Run.open(run.path)).t == Run.open(run.path).config.options["steps"] == 1


def test_steps_take_the_place_of_the_time(clock, tmp_path):
    run = begin(tmp_path, seconds=0.1)
    t = train(run).t
    train(run, steps=t + 3)
    assert (run.metrics()[-1]["t"], Run.open(run.path).config.seconds) == (t + 3, None)


def test_open_or_train_knows_its_run(clock, tmp_path):
    settings = {"data": "digits", "seconds": 0.1, "options": OPTIONS}
    first = open_or_train(tmp_path / "run", "vae", **settings)
    assert open_or_train(tmp_path / "run", "vae", **settings).t == first.t
    with pytest.raises(ConfigError, match=r"seconds 0\.1 then, 0\.2 now"):
        open_or_train(tmp_path / "run", "vae", **settings | {"seconds": 0.2})


@pytest.mark.parametrize(
    ("used", "t", "last"),
    [
        (0.7, 30, 42),  # 20 steps in half a second
        (1.0, 30, 30),
        (1.2, 30, 30),
        (0.999, 30, 30),  # no step fits in
        (0.2, 10, 10),  # the pace is not known
    ],
)
def test_a_plan_is_extended_by_what_fits_into_the_time(used, t, last):
    assert Stage(1.0, 0.2, 10).plan(t, used) == last


def test_a_plan_is_not_extended_by_little():
    stage = Stage(1.0, 0.0, 0)
    assert stage.plan(10_000, 0.995) == 10_000
    assert stage.plan(10_000, 0.98) > (1 + FINE) * 10_000


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "soon"])
def test_a_time_that_is_none_is_refused(seconds):
    with pytest.raises(ConfigError, match="seconds must"):
        configure("vae", seconds=seconds)
