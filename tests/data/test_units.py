"""Units of tables: model coordinates and back, the log-determinant, lattices and categories."""

from math import log

import numpy as np
import pytest
import torch

import pyrogen
from pyrogen.data import Column, Space
from pyrogen.data.columns import describe_column, lattice_step
from pyrogen.data.loading import _varying_in_training
from pyrogen.data.space import real_space
from pyrogen.errors import DataError, DataWarning


def table(n=400, seed=0):
    """Columns of every kind: real, counts, binary, a lattice of tenths."""
    r = np.random.default_rng(seed)
    return np.c_[r.normal(5e4, 2e4, n), r.poisson(3, n), r.integers(0, 2, n), r.integers(0, 30, n) / 10]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_models_see_standardised_columns_and_samples_come_back(dtype):
    values = np.random.default_rng(0).normal(size=(3000, 3)) * [20_000, 1, 0.01] + [1e6, 0, 3]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        data = pyrogen.load(values)
        z, *_ = data.train.tensors()
    finally:
        torch.set_default_dtype(before)
    assert z.dtype == dtype
    assert torch.allclose(z.mean(0), torch.zeros(3, dtype=dtype), atol=1e-5)
    assert torch.allclose(z.std(0, correction=0), torch.ones(3, dtype=dtype), atol=1e-5)
    back = data.space.to_user(z)
    assert back.dtype == torch.float64
    assert torch.allclose(back, data.train.x, rtol=0, atol=1e-2 if dtype == torch.float32 else 1e-9)
    assert data.space.log_det == pytest.approx(-float(data.train.x.std(0, correction=0).log().sum()))


def test_the_log_determinant_is_that_of_the_map():
    data = pyrogen.load(table())
    jacobian = torch.autograd.functional.jacobian(
        lambda v: data.space.from_columns(v[None])[0].double(), data.train.x[0].double()
    )
    volume = log(1) + log(1) + log(0.1)  # of a cell of counts, of a binary value, of tenths
    assert data.space.log_det == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]) + volume, abs=1e-6)


def test_kinds_of_columns():
    space = pyrogen.load(table()).space
    assert [column.kind for column in space.columns] == ["real", "integer", "binary", "integer"]
    assert [column.step for column in space.columns] == pytest.approx([0, 1, 1, 0.1])
    assert str(space) == "mass on a lattice, 3 of 4 columns dequantised"
    assert pyrogen.load(table()[:, :1]).space.is_lattice is False
    assert pyrogen.load(table()[:, 2:3]).space == Space("binary", columns=(Column("0", "binary", 1.0),))


def test_dequantised_values_stay_in_their_cell():
    data = pyrogen.load(table())
    for seed in range(20):
        z, *_ = data.train.tensors(seed)
        rows = data.space.to_user(z)
        assert torch.equal(rows[:, 1:3], data.train.x[:, 1:3])
        assert torch.allclose(rows[:, 3], data.train.x[:, 3], atol=1e-12)
    again, *_ = data.train.tensors(99)
    assert not torch.equal(z[:, 1], again[:, 1])
    assert torch.equal(z[:, 0], again[:, 0])
    assert torch.equal(data.test.tensors(0)[0], data.test.tensors(1)[0])


def test_moments_include_the_noise_exactly():
    data = pyrogen.load(table(20_000))
    z = torch.cat([data.train.tensors(seed)[0] for seed in range(5)]).double()
    assert z.mean(0).abs().max() < 0.02
    assert (z.std(0) - 1).abs().max() < 0.01


def test_samples_beyond_the_lattice_take_its_ends():
    data = pyrogen.load(table())
    rows = data.space.to_user(torch.tensor([[0.0, -50, -50, -50], [0.0, 50, 50, 50]]))
    assert rows[0, 1:].tolist() == [0, 0, 0]
    assert rows[1, 1:].tolist() == pytest.approx([float(data.space.columns[1].cells - 1), 1, 2.9])


def test_epoch_seconds_keep_their_values():
    seconds = 1_700_000_000 + np.random.default_rng(0).integers(0, 60, 5000)
    for given in (seconds, seconds.astype(float)):
        data = pyrogen.load(given)
        rows = data.space.to_user(data.train.tensors()[0])
        assert len(rows.unique()) == 60
        assert set(rows.flatten().tolist()) <= set(seconds.tolist())


def test_categories_are_one_hot():
    r = np.random.default_rng(0)
    values = np.c_[r.normal(size=300), r.integers(0, 3, 300) * 10]
    data = pyrogen.load(values, categorical=["1"])
    column = data.space.columns[1]
    assert (column.kind, column.values, column.width) == ("categorical", ("0", "10", "20"), 3)
    assert data.shape == (4,)
    z, *_ = data.train.tensors()
    assert torch.equal(data.space.to_user(z)[:, 1], data.train.x[:, 1])
    assert column.to_user(np.array([2.0, 0.0])).tolist() == ["20", "0"]
    assert data.space.log_det == pytest.approx(-float(data.space.scale.log().sum()))


def test_a_column_that_only_varies_outside_training_is_said():
    values = table(200)
    values[:, 2] = 0
    values[3, 2] = 1
    for seed in range(40):
        with pytest.MonkeyPatch.context() as patch:
            said = []
            patch.setattr("warnings.warn", lambda text, *a, said=said, **k: said.append(text))
            data = pyrogen.load(values, seed=seed)
        if float(data.train.x[:, 2].max()) == 0:
            break
    (text,) = said
    assert "column '2' is 0 in all 160 training rows" in text
    z, *_ = data.test.tensors()
    assert z[:, 2].abs().max() < 6  # dequantised: one value more or less costs a few nats, not 10^11


@pytest.mark.parametrize("drop", [False, True])
def test_a_real_column_that_only_varies_outside_training(drop):
    space = real_space(["a", "b"])
    x = torch.tensor([[1.0, 3.25], [2.0, 3.25]])
    stored = [(x, None), (x + 0.5, None), (x, None)]
    if not drop:
        with pytest.raises(DataError, match=r"column 'b' is 3.25 in all 2 training rows.*--drop-constant"):
            _varying_in_training(stored, space, "t.csv", drop)
        return
    kept, left = _varying_in_training(stored, space, "t.csv", drop)
    assert [column.name for column in left.columns] == ["a"]
    assert all(rows.shape == (2, 1) for rows, _ in kept)


def test_lattices_are_found():
    whole = np.array([3.0, 9, 15, 27])
    assert lattice_step(whole, 4) == 6
    assert lattice_step(np.array([0, 0.25, 0.75]), 10) == pytest.approx(0.25)
    assert lattice_step(np.array([0, 1 / 3, 1.0]), 10) == pytest.approx(1 / 3)
    assert lattice_step(np.sort(np.random.default_rng(0).normal(size=50)), 50) == 0
    assert lattice_step(np.array([0.1, 0.2, 0.7], np.float32), 10) == pytest.approx(0.1)
    assert describe_column("x", np.array([1.5, 1.5])) is None
    assert describe_column("x", np.array(["no", "yes", "no"])).kind == "binary"


def test_repeated_reals_are_said():
    r = np.random.default_rng(0)
    rain = np.where(r.random(400) < 0.3, 0.0, r.gamma(2.0, size=400))
    with pytest.warns(DataWarning, match="is 0 in 2.% of the rows .*no upper bound"):
        assert pyrogen.load(rain).space.columns[0].kind == "real"


def test_distances_do_not_depend_on_units():
    data = pyrogen.load(table())
    z, *_ = data.train.tensors()
    form = data.space.to_comparable(z)
    assert torch.allclose(form[:, 0], z[:, 0], atol=1e-4)
    assert len(form[:, 1].unique()) == len(data.train.x[:, 1].unique())
