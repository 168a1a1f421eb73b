"""Runs that released versions wrote still load, sample, evaluate and continue, as they did when they were written.

Each folder of ``tests/golden`` is an interrupted run, and the file beside it what the version that wrote it found:
samples and scores at the checkpoint, and the metrics and weights of the run continued to its last step. Runs are not
the same to the last bit on another processor, so values are compared to a tolerance.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

import pyrogen
from pyrogen.training import Run, train
from pyrogen.training.checkpoint import found, newest
from pyrogen.training.checkpoint.manifest import FORMAT, read_manifest

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = {"run-0.1": 1}
"""The format of each run's checkpoint."""


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path):
    """A copy of a golden run, and what is expected of it."""
    path = shutil.copytree(GOLDEN / request.param, tmp_path / "run")
    return Run.open(path), json.loads((GOLDEN / f"{request.param}-expected.json").read_text())


def test_every_golden_run_is_tested():
    assert {path.name for path in GOLDEN.iterdir() if path.is_dir()} == FORMATS.keys()
    for name, number in FORMATS.items():
        (checkpoint,) = found(GOLDEN / name)
        assert read_manifest(checkpoint).format == number


def test_a_golden_run_loads_samples_and_evaluates(golden):
    run, expected = golden
    trained = pyrogen.open(run.path)
    assert (trained.t, trained.weights["step"]) == (expected["t"], expected["step"])
    torch.manual_seed(0)
    drawn = trained.model.sample(4).flatten()[:16]
    assert torch.allclose(drawn, torch.tensor(expected["sample"]), atol=1e-3)
    scores = pyrogen.evaluate(trained.model, trained.data.test, k=16)
    for name in ("log_likelihood", "elbo", "bits_per_dim"):
        assert scores[name].value == pytest.approx(expected["scores"][name], rel=1e-3)


def test_a_golden_run_continues_to_its_end_and_is_then_of_the_present_format(golden):
    run, expected = golden
    trained = train(run)
    rows = [row for row in run.metrics() if row["t"] > expected["t"]]
    assert [row["t"] for row in rows] == [row["t"] for row in expected["rows"]]
    for row, other in zip(rows, expected["rows"], strict=True):
        for name, value in other.items():  # validation draws other latent variables than version 0.1
            assert row[name] == pytest.approx(value, rel=2e-2 if name == "valid_loss" else 5e-3)
    (first, _), last = found(run.path), newest(run.path)
    assert first != last
    assert read_manifest(last).format == FORMAT
    weights = dict(pyrogen.open(run.path).model.state_dict())
    assert trained.t == rows[-1]["t"]
    for name, (mean, std) in expected["weights"].items():
        values = weights[name.removeprefix("model.")].double()
        assert float(values.mean()) == pytest.approx(mean, abs=2e-3)
        assert float(values.std(correction=0)) == pytest.approx(std, rel=5e-3)
