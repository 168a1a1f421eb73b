"""Every recipe, data set and step computes in float64 where torch's default, or the data and the model, are of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from recipe_cases import small

import pyrogen
from pyrogen.data import Split, from_array, memmap
from pyrogen.data.step_arguments import select_arguments
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import scoped_seed
from pyrogen.recipes import RECIPES
from pyrogen.testing.assertions import first_rows

VARIANTS = {"maf": "digits-logit", "mixture": "ring", "kde": "gaussian", "spline": "moons", "vae": "digits-binary"}
OPTIONS = {"kde": {"points": 500}, "aae": {"prior": "label"}}


@pytest.fixture
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def floats(thing):
    """The dtypes of all floating tensors in a nested state."""
    if isinstance(thing, torch.Tensor):
        return {thing.dtype} if thing.is_floating_point() else set()
    parts = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list | tuple) else ()
    return {dtype for part in parts for dtype in floats(part)}


def made(name):
    data = pyrogen.load(VARIANTS.get(name, RECIPES[name].example))
    with scoped_seed(0):
        return RECIPES[name](data, **small(name), **OPTIONS.get(name, {}))


def check(setup, train, batch):
    """The plan's step and model keep to float64."""
    model, step = setup.model, setup.step
    for _, logs in pyrogen.fit(step, train, steps=3, batch_size=32):
        assert floats([value for key, value in logs.items() if key.endswith("loss")]) == {torch.float64}, logs
        assert all(value.isfinite() for value in logs.values())
    evaluated = step.evaluate(*select_arguments(step, batch))
    assert all(value.isfinite() for value in evaluated.values())
    if torch.get_default_dtype() == torch.float64:  # Pyro's losses are Python's numbers
        assert floats([value for key, value in evaluated.items() if key.endswith("loss")]) == {torch.float64}
    assert floats(dict(model.state_dict())) == {torch.float64}
    y = batch[1] if setup.data.test.side_fn is not None else None
    if hasattr(model, "sample"):
        assert model.sample(32, y).dtype == torch.float64
    for method in ("log_prob", "encode", "reconstruct"):
        if hasattr(model, method):
            assert floats(drop_extra_args(getattr(model, method))(*batch)) <= {torch.float64}


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_under_a_default_of_float64(name):
    setup = made(name)
    batch = tuple(part[:32] for part in setup.data.test.tensors())
    assert floats(batch) == {torch.float64}
    check(setup, setup.data.train, batch)
    for score in pyrogen.evaluate(setup.model, first_rows(setup.data).test, k=3).values():
        assert score.value == score.value


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_made_double_trains_on_float64_data(name):
    setup = made(name)
    setup.model.double()
    x, *y = setup.data.train.tensors()
    assert x.dtype == torch.float32
    train = Split(x[:320].double(), *(part[:320] for part in y))
    check(setup, train, tuple(part[:32] for part in train.tensors()))


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("name", [name for name in pyrogen.data.names() if "mnist" not in name and name != "cifar10"])
def test_a_data_set_under_a_default_of_float64(name):
    data = pyrogen.load(name)
    for split in (data.train, data.valid, data.test):
        x, *_ = split.read(slice(0, 8), torch.Generator().manual_seed(0))
        assert x.dtype == torch.float64
        assert data.space.to_user(x).dtype == torch.float64
    if data.truth is not None:
        assert data.truth.log_prob(data.test.x[:8]).dtype == torch.float64
        assert data.truth.modes is None or data.truth.modes.dtype == torch.float64


@pytest.mark.parametrize("name", ["digits", "digits-binary", "digits-logit"])
def test_noise_follows_the_default_at_the_time_of_reading(name, request):
    train = pyrogen.load(name).train
    rows = [train.read(slice(0, 64), torch.Generator().manual_seed(3))[0]]
    request.getfixturevalue("_float64")
    rows += [train.read(slice(0, 64), torch.Generator().manual_seed(3))[0]]
    assert [x.dtype for x in rows] == [torch.float32, torch.float64]
    torch.testing.assert_close(rows[0].double(), rows[1], rtol=1e-3 if name == "digits-logit" else 1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_a_file_is_read_in_the_default_type(tmp_path, kind, request, monkeypatch):
    x = np.random.default_rng(0).normal(size=(100, 3)) * 100
    np.save(tmp_path / "x.npy", x.astype(kind))
    assert pyrogen.load(tmp_path / "x.npy").train.tensors()[0].dtype == torch.float32
    request.getfixturevalue("_float64")
    assert pyrogen.load(tmp_path / "x.npy").train.tensors()[0].dtype == torch.float64
    if kind is np.float64:  # as it is, not through float32
        assert np.array_equal(from_array(tmp_path / "x.npy").x.numpy(), x)
    if kind is np.float32:
        monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
        data = pyrogen.load(tmp_path / "x.npy")
        assert isinstance(data.train.x, memmap.MemoryMapped)
        assert data.train.tensors()[0].dtype == data.test.x.dtype == torch.float64
        assert next(pyrogen.data.batches(data.train, 8))[0].dtype == torch.float64


def test_a_split_keeps_the_type_of_its_rows():
    x = torch.rand(40, 2, dtype=torch.float64)
    split = Split(x, more=(torch.rand(40),))
    (drawn, other) = next(pyrogen.data.batches(replace(split), 8))
    assert (drawn.dtype, other.dtype) == (torch.float64, torch.float32)
