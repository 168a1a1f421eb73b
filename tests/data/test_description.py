"""The description of a data set: one exact form in JSON, and no rows."""

import json
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pyrogen
from pyrogen.data import Dataset, Description
from pyrogen.data.columns import Column
from pyrogen.data.space import Space
from pyrogen.errors import DataError

numbers = st.floats(allow_nan=False, allow_infinity=False)
columns = st.builds(
    Column,
    name=st.text(),
    kind=st.sampled_from(("real", "integer", "binary", "categorical")),
    step=numbers,
    values=st.lists(st.text(), max_size=3).map(tuple),
    low=numbers,
    cells=st.integers(0, 2**53),
    dtype=st.sampled_from(("float32", "int64", "str")),
)
EXTREMES = [0.1, 1 / 3, -0.0, 5e-324, sys.float_info.max, 1 + sys.float_info.epsilon]


def same(a: Description, b: Description) -> bool:
    """Whether two descriptions are equal in everything, also in what does not count for equality of spaces."""
    fields = [(c.low, c.cells, c.dtype) for c in a.space.columns] == [
        (c.low, c.cells, c.dtype) for c in b.space.columns
    ]
    return a == b and fields and all(map(equal, (a.space.location, a.space.scale), (b.space.location, b.space.scale)))


def equal(x: torch.Tensor | None, y: torch.Tensor | None) -> bool:
    """Whether two tensors have the same bits and dtype."""
    if x is None or y is None:
        return x is y
    return x.dtype == y.dtype and x.shape == y.shape and torch.equal(x.view(torch.int64), y.view(torch.int64))


@given(st.lists(columns, max_size=4).map(tuple), st.lists(numbers, min_size=1, max_size=6))
def test_the_form_in_json_is_exact(found, values):
    location, scale = (torch.tensor(part, dtype=torch.float64) for part in (values, EXTREMES))
    space = Space("real", columns=found).standardised(location, scale)
    description = Description("näme", (len(values),), space, (3, 2, 1), ("a", 'b"'), (2, 1), 4)
    assert same(Description.from_json(json.loads(json.dumps(description.to_json()))), description)


@pytest.mark.parametrize("name", ["digits", "digits-binary", "digits-logit", "ring", "stacked-digits"])
def test_data_sets_are_described_exactly(name):
    data = pyrogen.load(name)
    known = Description.from_json(json.loads(json.dumps(data.description.to_json())))
    assert same(known, data.description)
    empty = Dataset.without_rows(known)
    assert (empty.shape, empty.classes, empty.is_image, empty.dims) == (
        data.shape,
        data.classes,
        data.is_image,
        data.dims,
    )
    assert [len(split) for split in (empty.train, empty.valid, empty.test)] == [
        len(split) for split in (data.train, data.valid, data.test)
    ]
    assert empty.description is known
    if name == "digits-logit":  # samples are mapped to the user's units as before, bit for bit
        z = torch.randn(5, *data.shape)
        assert torch.equal(empty.space.to_user(z), data.space.to_user(z))


def test_rows_that_are_not_at_hand_are_not_read():
    empty = Dataset.without_rows(pyrogen.load("digits").description).to("cpu").with_side_information(None)
    for read in (
        lambda: empty.train.tensors(),
        lambda: empty.test.row_keys,
        lambda: empty.valid.freeze_noise(0),
        lambda: empty.train.read(torch.tensor([0]), torch.Generator()),
        lambda: next(pyrogen.data.batches(empty.train, 8)),
        lambda: pyrogen.evaluate(torch.nn.Identity(), empty),
    ):
        with pytest.raises(DataError, match="the rows of 'digits' are needed here, and only their description"):
            read()
