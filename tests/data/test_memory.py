"""Data in memory: arrays, tensors, torch data sets and ``.pt`` files, and rows for ``fit`` and ``evaluate``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, Subset, TensorDataset

import pyrogen
from pyrogen.data import ReadOptions, Split, batches
from pyrogen.data.loading import as_data
from pyrogen.data.sources.dispatch import read_user_data
from pyrogen.data.table import RawData
from pyrogen.errors import DataError

DRAWS = np.random.default_rng(0)
VECTORS = DRAWS.random((40, 3), dtype=np.float32)
IMAGES = DRAWS.random((40, 1, 4, 4), dtype=np.float32)


def read(source: Any) -> RawData:
    return read_user_data(source, ReadOptions())


@pytest.mark.parametrize("source", [VECTORS, IMAGES, torch.from_numpy(VECTORS), torch.from_numpy(IMAGES)])
def test_floats_in_order_are_not_copied(source: Any) -> None:
    x = read(source).x
    start = source.data_ptr() if isinstance(source, torch.Tensor) else source.ctypes.data
    assert x.data_ptr() == start  # type: ignore[union-attr]
    assert torch.equal(x, torch.as_tensor(source))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "view",
    [
        VECTORS[10:30],
        VECTORS[::-1],
        VECTORS[:, ::-1],
        VECTORS[:, 1:],
        VECTORS[:, [2, 0]],
        VECTORS.T[:, :3],
        np.asfortranarray(VECTORS),
        VECTORS.astype(">f4"),
        np.broadcast_to(VECTORS[:, :1], (40, 3)),
    ],
)
def test_views_of_arrays_have_their_own_rows_and_columns(view: np.ndarray) -> None:
    assert np.array_equal(read(view).x.numpy(), view)  # type: ignore[union-attr]


def test_a_read_only_array_gives_no_warning() -> None:
    fixed = VECTORS.copy()
    fixed.flags.writeable = False
    assert len(pyrogen.load(fixed).train) == 32
    assert len(pyrogen.load(np.frombuffer(IMAGES.tobytes(), np.float32).reshape(40, 1, 4, 4)).train) == 32


@pytest.mark.parametrize(
    "x", [torch.rand(9, 2).bfloat16(), torch.rand(9, 2, requires_grad=True), torch.nn.Parameter(torch.rand(9, 2))]
)
def test_other_tensors(x: torch.Tensor) -> None:
    assert torch.allclose(read(x).x.float(), x.detach().float())  # type: ignore[union-attr]


def test_masked_values_are_missing() -> None:
    x = np.ma.masked_array(VECTORS, mask=np.zeros((40, 3), bool))
    assert len(read(x).x) == 40
    x.mask[7, 1] = True
    with pytest.raises(DataError, match="row 8, column '1': the value is missing"):
        read(x)
    assert len(read_user_data(x, ReadOptions(drop_missing=True)).x) == 39


def test_labels_of_rows_with_missing_values_are_dropped_with_them() -> None:
    x = VECTORS.copy()
    x[0, 0] = np.nan
    raw = read_user_data((x, np.array([7, *[1, 2, 2] * 13])), ReadOptions(drop_missing=True))
    assert raw.classes == ("1", "2")
    assert raw.y is not None
    assert raw.y.tolist() == [0, 1, 1] * 13


class Items(TorchDataset[Any]):
    def __init__(self, *items: Any, classes: Any = None) -> None:
        self.items, self.classes = items, classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        return self.items[i]


def test_torch_data_sets() -> None:
    x, y = torch.from_numpy(IMAGES), torch.arange(40) % 2 + 1
    whole = TensorDataset(x, y)
    for source, n in ((whole, 40), (Subset(whole, range(0, 40, 2)), 20), ((x, y), 40)):
        raw = read(source)
        assert len(raw.x) == n
        assert torch.equal(raw.x, x[:: 40 // n])  # type: ignore[arg-type]
        assert raw.classes == (("1", "2") if n == 40 else ("1",))
    assert read(TensorDataset(x)).y is None
    assert read(Items(*(Image.fromarray((255 * v[0]).astype(np.uint8)) for v in IMAGES))).space.levels == 256
    named = read(Items(*((v, i % 2) for i, v in enumerate(IMAGES)), classes=["dog", "cat", "owl"]))
    assert named.classes == ("cat", "dog")
    assert named.y is not None
    assert named.y.tolist() == [1, 0] * 20
    numbers = read(Items(*(0.1 + v for v in DRAWS.random(9))))
    assert numbers.x.shape == (9, 1)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Stream(), "Stream: expected a map-style data set"),
        (Items(), "Items: expected some items, got none"),
        (Items(torch.rand(3), torch.rand(4)), r"Items: item 1: expected shape \(3,\) as of item 0, got \(4,\)"),
        (Items((torch.rand(3), 1), torch.rand(3)), "Items: item 1: expected .* in all items or in none"),
        (Items((1, 2, 3)), r"Items: item 0: expected x or \(x, y\), got 3 parts"),
        (Items({"x": 1}), "Items: item 0: expected a tensor or an array, got a dict"),
        (Items((torch.rand(3), torch.rand(2))), r"item 0: expected one label y, got shape \(2,\)"),
        (Items((torch.rand(3), None)), "item 0: expected a label y, a number or a text; got a NoneType"),
        ((VECTORS, np.zeros((40, 2))), r"one label y for each of 40 rows, got shape \(40, 2\)"),
        ((VECTORS, "abc"), "y: expected a tensor or an array, got a str"),
    ],
)
def test_what_is_wrong_with_an_item_is_named(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pyrogen.load(source)


@pytest.mark.parametrize("form", ["tensor", "tuple", "list", "dict", "only"])
def test_pt_files(form: str, tmp_path: Path) -> None:
    x, y = torch.from_numpy(VECTORS), torch.arange(40) % 3
    forms = {"tensor": x, "tuple": (x, y), "list": [x, y], "dict": {"x": x, "y": y}, "only": {"data": x}}
    torch.save(forms[form], tmp_path / "a.pt")
    raw = read(tmp_path / "a.pt")
    assert torch.equal(raw.x, x)  # type: ignore[arg-type]
    assert (raw.y is None) == (form in ("tensor", "only"))


def test_a_pickle_in_a_pt_file_is_not_executed(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    torch.save(Harm(), tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"got an object of '__builtin__.getattr', and objects can execute code"):
        read(tmp_path / "a.pt")
    assert not (tmp_path / "harm").exists()


# Rows for fit and evaluate


def test_arrays_are_rows_as_they_are(tmp_path: Path) -> None:
    y = np.arange(40)
    for source in (VECTORS, torch.from_numpy(VECTORS)):
        split = as_data(source)
        assert isinstance(split, Split)
        assert (split.space, split.y) == (None, None)
        assert np.array_equal(split.x, VECTORS)
    split = as_data((VECTORS[::-1], torch.from_numpy(y), VECTORS))
    assert split.y.tolist() == y.tolist()
    assert np.array_equal(split.x, VECTORS[::-1])
    assert len(split.more) == 1
    ours, theirs = next(batches((VECTORS, y), 8)), next(batches((torch.from_numpy(VECTORS), torch.from_numpy(y)), 8))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    np.save(tmp_path / "a.npy", VECTORS)
    ours, theirs = next(batches(tmp_path / "a.npy", 8)), next(batches(pyrogen.load(VECTORS).train, 8))
    assert torch.equal(ours[0], theirs[0])
    with pytest.raises(DataError, match="expected an array of numbers"):
        batches((VECTORS, y.astype(str)), 8)


@pytest.mark.usefixtures("quick_measures")
def test_evaluate_takes_what_fit_takes(tmp_path: Path) -> None:
    from pyrogen.explicit import Gaussian

    np.save(tmp_path / "a.npy", VECTORS)
    data = pyrogen.load(VECTORS)
    model = Gaussian((3,))
    whole = pyrogen.evaluate(model, data)
    assert pyrogen.evaluate(model, str(tmp_path / "a.npy")) == whole
    z = data.test.tensors()[0]
    rows = pyrogen.evaluate(model, z.numpy())["log_likelihood"]
    assert pyrogen.evaluate(model, (z, z))["log_likelihood"].value == rows.value
    assert rows.value == pytest.approx(float(model.log_prob(z).mean().detach()), abs=1e-5)
    assert whole["log_likelihood"].value == pytest.approx(rows.value + data.space.log_det, abs=1e-5)
    with pytest.raises(DataError, match="expected a data set, a split, a path, a table, tensors or arrays; got a list"):
        pyrogen.evaluate(model, [z])  # type: ignore[arg-type]
