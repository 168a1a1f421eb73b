"""A run that goes wrong says so once, in one sentence."""

import warnings

import numpy as np
import pytest

from pyrogen.steps import diagnose
from pyrogen.training import configure, train
from pyrogen.training.monitoring.metric_averager import DiagnosticMonitor
from pyrogen.training.run import Run


class Judge:
    diagnose = staticmethod(diagnose)


def test_three_bad_rows_make_one_warning():
    advice = DiagnosticMonitor(Judge())
    bad, good = {"t": 500, "std_ratio": 0.01}, {"t": 500, "std_ratio": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row in (bad, bad, good, bad, bad):
            advice.after(row)
    early = DiagnosticMonitor(Judge())
    for _ in range(5):
        early.after(bad | {"t": 50})
    with pytest.warns(UserWarning, match=r"step 500: .*collapsed.*try"):
        advice.after(bad)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            advice.after(bad)


def test_a_step_without_an_opinion_is_left_alone():
    advice = DiagnosticMonitor(object())
    for _ in range(5):
        advice.after({"t": 1, "std_ratio": 0.0})


def test_a_run_warns_of_a_critic_without_bound(tmp_path):
    np.save(tmp_path / "table.npy", np.random.default_rng(0).standard_normal((60, 2)))
    options = {"steps": 150, "clip": 1e3, "lr": 5.0, "batch_size": 16, "hidden": (16,)}
    run = Run.create(tmp_path / "run", configure("wgan", str(tmp_path / "table.npy"), options=options))
    with pytest.warns(UserWarning, match="Lipschitz"):
        train(run)
    assert {"std_ratio", "gradient", "critic_loss"} <= run.metrics()[-1].keys()
