"""Runs begun from Python: on data by name, loaded or in memory; and runs that end when validation stops improving."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import pyrogen
from pyrogen.errors import ConfigError, DataError
from pyrogen.recipes import RECIPES
from pyrogen.training import Run, RunConfig, configure, pick_device, train
from pyrogen.training.averaging import BestWeights

SMALL = {"hidden": (8,), "latent": 2, "steps": 4, "batch_size": 16}


def test_no_option_of_a_recipe_has_the_name_of_a_setting_of_a_run() -> None:
    assert not {name for entry in RECIPES.values() for name in entry.schema.model_fields} & set(RunConfig.model_fields)


def test_a_model_is_trained_in_one_call(tmp_path) -> None:
    data = pyrogen.load("digits", seed=3)
    run = pyrogen.train("vae", data, out=tmp_path / "run", **SMALL)
    assert (run.t, run.config.seed, run.config.options["latent"]) == (4, 3, 2)
    assert run.model.sample(2).shape == (2, *data.shape)
    assert torch.equal(run.data.test.x, data.test.x)


def test_data_in_memory_are_stored_in_the_folder(tmp_path) -> None:
    rows = np.random.default_rng(0).normal(5.0, 1.0, (60, 3))
    for name, data in (("array", rows), ("loaded", pyrogen.load(rows))):
        run = pyrogen.train("vae", data, out=tmp_path / name, **SMALL)
        assert run.data.shape == (3,)
        assert len(run.data.train) == 48
        assert train(Run.open(tmp_path / name), steps=5).t == 5


def test_data_changed_after_loading_are_refused(tmp_path) -> None:
    data = pyrogen.load("digits")
    changed = replace(data, train=data.train.select(torch.arange(100)))
    with pytest.raises(DataError, match="'digits' was changed after it was loaded"):
        pyrogen.train("vae", changed, out=tmp_path / "run", **SMALL)
    with pytest.raises(DataError, match=r"not loaded by pyrogen\.load"):
        pyrogen.train("vae", replace(data, origin=None), out=tmp_path / "run", **SMALL)
    with pytest.raises(ConfigError, match="unknown option of vae 'latnt'; did you mean 'latent'"):
        pyrogen.train("vae", data, out=tmp_path / "run", latnt=3)
    assert not (tmp_path / "run").exists()


def test_a_run_ends_when_its_patience_does_and_goes_on_when_asked_to(tmp_path, monkeypatch) -> None:
    losses = iter([5.0, 4.0, 3.0, 6.0, 3.0, 7.0, 2.0, 8.0, 9.0, 9.5, 1.0])
    monkeypatch.setattr(pyrogen.SVI, "evaluate", lambda step, *batch: {"loss": torch.tensor(next(losses))})
    options = {**SMALL, "steps": 20}
    run = Run.create(tmp_path / "run", configure("vae", patience=3, options=options))
    trained = train(run, pictures=False)  # a validation loss at each of the 20 steps
    assert (trained.t, trained.weights["step"]) == (6, 3)
    assert Run.open(run.path).config.options["steps"] == 6
    assert train(Run.open(run.path), pictures=False).t == 6
    more = train(Run.open(run.path), steps=20, pictures=False)
    assert (more.t, more.weights["step"]) == (10, 7)


def test_patience_is_kept_in_the_checkpoint() -> None:
    kept, other = (BestWeights(torch.nn.Linear(1, 1)) for _ in range(2))
    for t, score in enumerate([2.0, 1.0, 1.5, float("nan")]):
        kept.judge(kept.module, score, t)
    other.load_state_dict(kept.state_dict())
    assert (other.since, other.step) == (2, 1)


def test_patience_needs_a_validation_loss(tmp_path) -> None:
    with pytest.raises(ConfigError, match="patience needs a validation loss, and gan has none"):
        pyrogen.train("gan", out=tmp_path / "run", patience=2, steps=2)


def test_gpu_is_another_name_of_cuda(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="'gpu' is not available"):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (pick_device("gpu"), pick_device("gpu:1")) == (torch.device("cuda"), torch.device("cuda:1"))


def test_a_run_is_evaluated_as_its_model(tmp_path):
    run = pyrogen.train("gaussian", "digits", out=tmp_path / "run", steps=2)
    rows = run.data.test.tensors()[0][:20]
    assert pyrogen.evaluate(run, rows) == pyrogen.evaluate(run.model, rows)
