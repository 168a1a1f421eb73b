"""Every model of vectors learns a table whose columns have other units, by its recipe; few steps."""

import numpy as np
import pytest
import torch

import pyrogen
from pyrogen.errors import DataWarning
from pyrogen.explicit import Gaussian
from pyrogen.measure import in_chunks
from pyrogen.training import configure, train
from pyrogen.training.run import Run

STEPS = {
    "vae": 300,
    "gmvae": 300,
    "iwae": 300,
    "ladder-vae": 300,
    "made": 200,
    "maf": 200,
    "realnvp": 200,
    "spline": 200,
}
EXPLICIT = ("gaussian", "ppca", "mixture", "kde", "histogram", *STEPS)
IMPLICIT = ("gan", "wgan-gp", "relativistic-gan")


def scales(n=2000):
    """Correlated columns of deviations 20000, 1 and 0.01."""
    mixing = np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 0.5], [0.0, 0.0, 0.9]])
    return np.random.default_rng(0).normal(size=(n, 3)) @ mixing * [20_000, 1, 0.01] + [50_000, 0, 3]


def heavy(n=2000):
    """Student-t(2), whose variance is infinite."""
    return np.random.default_rng(0).standard_t(2, size=(n, 3))


def trained(tmp_path, name, values):
    """A run of few steps."""
    file = tmp_path / "table.npy"
    np.save(file, values)
    options = {"steps": STEPS.get(name, 300)} if name not in ("kde", "histogram") else {}
    return train(Run.create(tmp_path / "run", configure(name, str(file), options=options)))


@pytest.mark.parametrize("name", EXPLICIT)
def test_densities_of_columns_of_other_units(tmp_path, name):
    done = trained(tmp_path, name, scales())
    data = done.data
    score = pyrogen.evaluate(done.model, data.test)["log_likelihood"]
    baseline = Gaussian.from_data(data.train.tensors()[0], "diagonal")
    reference = pyrogen.evaluate(baseline, data.test)["log_likelihood"]
    assert score.value > reference.value - 3 * 0.15
    with torch.no_grad():
        rows = data.space.to_user(in_chunks(done.model, 4000)).numpy()
    assert np.abs(rows.std(0) / scales().std(0) - 1).max() < 0.25


@pytest.mark.parametrize("name", IMPLICIT)
def test_generators_of_columns_of_other_units(tmp_path, name):
    done = trained(tmp_path, name, scales())
    with torch.no_grad():
        rows = done.data.space.to_user(in_chunks(done.model, 4000)).numpy()
    assert np.abs(rows.std(0) / scales().std(0) - 1).max() < 0.4
    assert np.abs((rows.mean(0) - scales().mean(0)) / scales().std(0)).max() < 0.4


@pytest.mark.filterwarnings("ignore:.*the posterior has collapsed")
@pytest.mark.parametrize("name", ["vae", "ladder-vae", "maf", "realnvp", "aae", "autoencoder"])
def test_outliers_do_not_end_in_nan(tmp_path, name):
    done = trained(tmp_path, name, heavy())
    scores = pyrogen.evaluate(done.model, done.data.test)
    assert all(np.isfinite(score.value) for score in scores.values())


def test_fewer_rows_than_a_batch(tmp_path):
    with pytest.warns(DataWarning, match="a batch has all 80 training rows, as they are fewer than 256"):
        done = trained(tmp_path, "gaussian", scales(100))
    assert done.t == 300


@pytest.mark.parametrize(("name", "latent"), [("ppca", 2), ("pca", 1), ("autoencoder", 1)])
def test_the_dimension_of_codes_fits_the_table(tmp_path, name, latent):
    assert trained(tmp_path, name, scales(400)).model.latent == latent
