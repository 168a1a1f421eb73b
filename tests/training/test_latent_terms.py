"""The parts of the ELBO in the logged rows, active units, and what is said of a posterior that has collapsed."""

import warnings

import pytest
import torch
from recipe_cases import small

import pyrogen
from pyrogen.data.step_arguments import select_arguments
from pyrogen.recipes import RECIPES
from pyrogen.training import Run, configure, train
from pyrogen.training.monitoring.agenda import LOGS, due, validates
from pyrogen.training.monitoring.metric_averager import DiagnosticMonitor
from pyrogen.training.monitoring.validation import latent_terms

LATENT = ("vae", "cvae", "ladder-vae")
NONE = ("gaussian", "realnvp", "gan", "autoencoder", "vqvae", "aae")


def setup_of(name: str):
    return RECIPES[name](pyrogen.load("digits"), **{**small(name), "steps": 3})


@pytest.mark.parametrize("name", LATENT)
def test_reconstruction_and_divergence_are_the_loss(name) -> None:
    torch.manual_seed(0)
    setup = setup_of(name)
    batch = select_arguments(setup.step, setup.data.valid.tensors())
    setup.step.setup(*batch)
    row = latent_terms(setup, batch)
    loss = float(setup.step.evaluate(*batch)["loss"])
    assert row["valid_reconstruction"] + row["valid_kl"] == pytest.approx(loss, rel=1e-5)
    assert row["valid_kl"] > 0


@pytest.mark.parametrize("name", NONE)
def test_other_models_have_no_such_terms(name) -> None:
    setup = setup_of(name)
    assert latent_terms(setup, select_arguments(setup.step, setup.data.valid.tensors())) == {}


def test_active_units_are_those_whose_mean_depends_on_the_data(tmp_path) -> None:
    run = Run.create(tmp_path / "run", configure("vae", options={"latent": 3, "hidden": (16,), "steps": 8}))
    train(run, pictures=False)
    assert {"valid_loss", "valid_reconstruction", "valid_kl", "active_units"} <= run.metrics()[-1].keys()
    setup = setup_of("vae")
    batch = select_arguments(setup.step, setup.data.valid.tensors())
    setup.step.setup(*batch)
    last = [layer for layer in setup.model.encoder.modules() if isinstance(layer, torch.nn.Linear)][-1]
    units = setup.model.latent
    for active in range(units + 1):
        with torch.no_grad():
            last.weight.zero_()[:active] = 1.0  # the means of the other units are constant
        assert latent_terms(setup, batch)["active_units"] == active


def test_a_collapse_is_said_once() -> None:
    monitor = DiagnosticMonitor(object())
    rows = [{"t": t, "loss": 1.0} | ({"valid_kl": 0.01} if t % 10 == 0 else {}) for t in range(80, 200, 5)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for row in rows:
            monitor.after(row)
    assert [str(warning.message).partition(";")[0] for warning in said] == [
        "step 130: the posterior has collapsed to the prior: KL(q(z | x) ‖ p(z)) is 0.01 nats, so the decoder does not "
        "use z"
    ]
    healthy = DiagnosticMonitor(object())
    for t in range(110, 200, 10):
        healthy.after({"t": t, "valid_kl": 0.01 if t % 30 else 4.0})


def test_every_validation_loss_is_logged(tmp_path) -> None:
    options = {**small("vae"), "batch_size": 16}
    steps = 430  # a row is due at every second step, a checkpoint at every 21st
    run = pyrogen.train("vae", "digits", out=tmp_path / "run", steps=steps, compile=False, **options)
    judged = [t for t in range(1, steps + 1) if validates(t, steps)]
    assert any(not due(t, steps, LOGS) for t in judged)
    assert [row["t"] for row in run.metrics if "valid_loss" in row] == judged
