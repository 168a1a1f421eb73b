"""Array files: supported formats, their storage, and the errors for invalid ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrogen.data import Space, from_array
from pyrogen.data.space import real_space
from pyrogen.errors import DataError

EIGHT_BIT = Space("unit", levels=256)
Save = Callable[..., Path]


def refusal(file: Path) -> str:
    """Return the error message for an invalid file, which must be one line."""
    with pytest.raises(DataError) as caught:
        from_array(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(x: object = None, /, **arrays: object) -> Path:
        file = tmp_path / ("a.npz" if arrays else "a.npy")
        if arrays:
            np.savez(file, **arrays)
        else:
            np.save(file, x)
        return file

    return save


def uniform(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ((5, 4, 6), (5, 1, 4, 6)),
        ((5, 1, 4, 6), (5, 1, 4, 6)),
        ((5, 3, 4, 6), (5, 3, 4, 6)),
        ((5, 4, 6, 3), (5, 3, 4, 6)),
        ((5, 4, 6, 1), (5, 1, 4, 6)),
        ((5, 3, 4, 3), (5, 3, 4, 3)),
        ((5, 1, 4, 3), (5, 1, 4, 3)),
        ((5, 2, 4, 3), (5, 3, 2, 4)),
        ((5, 1, 1), (5, 1, 1, 1)),
        ((5, 7), (5, 7)),
        ((5,), (5, 1)),
    ],
)
def test_shapes(save: Save, given: tuple[int, ...], stored: tuple[int, ...]) -> None:
    x = uniform(*given)
    rows = from_array(save(x))
    assert rows.x.shape == stored
    assert rows.x.dtype == (torch.float32 if len(stored) == 4 else torch.float64)
    assert rows.x.is_contiguous()
    expected = np.moveaxis(x, 3, 1) if len(given) == 4 and given[1:] != stored[1:] else x
    assert np.allclose(rows.x.numpy().ravel(), expected.ravel())
    assert rows.space == (Space("unit") if len(stored) == 4 else real_space([str(i) for i in range(stored[1])]))


def test_an_array_in_column_order(save: Save) -> None:
    x = np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    assert from_array(save(x)).x.flatten().tolist() == list(range(24))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int16, ">i4"])
def test_uint8_values_are_grey_levels(save: Save, dtype: str) -> None:
    x = np.arange(0, 256, 5).reshape(4, 13, 1).astype(dtype)
    rows = from_array(save(x))
    assert rows.x.dtype == torch.uint8
    assert rows.x.flatten().tolist() == list(range(0, 256, 5))
    assert rows.space == EIGHT_BIT


def test_black_images_stay_uint8(save: Save) -> None:
    assert from_array(save(np.zeros((5, 4, 4), np.uint8))).space == EIGHT_BIT


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bit_arrays(save: Save, dtype: str) -> None:
    rows = from_array(save(np.array([[[[0, 1000, 60000, 65535]]]], dtype)))
    assert torch.equal(rows.x, torch.tensor([[[[0, 1000, 60000, 65535]]]]) / 65535)
    assert rows.space == Space("unit")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f8"])
def test_floats_that_are_multiples_of_1_over_255(save: Save, dtype: str) -> None:
    level = np.random.default_rng(0).integers(256, size=(5, 4, 4))
    rows = from_array(save((level / 255).astype(dtype)))
    assert rows.space == EIGHT_BIT
    assert np.array_equal(rows.x[:, 0].numpy(), level)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(50, 4, 4), (50, 8)])
def test_zeros_and_ones_are_binary(save: Save, dtype: type, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random(shape) < 0.5
    rows = from_array(save(x.astype(dtype)))
    assert rows.space.support == "binary"
    assert rows.x.dtype == torch.float32
    assert np.array_equal(rows.x.numpy().reshape(shape), x)


def test_vectors_may_have_any_finite_value(save: Save) -> None:
    rows = from_array(save(np.array([[-1e30, 3.25], [0.0, 7.0], [1.1, 0.1]])))
    assert rows.space == real_space(["0", "1"])
    assert rows.x.tolist() == [[-1e30, 3.25], [0.0, 7.0], [1.1, 0.1]]
    assert from_array(save(np.array([[0, 7], [3, 9], [6, 5]]))).space.is_lattice


def test_labels_and_the_only_array(save: Save) -> None:
    rows = from_array(save(x=uniform(4, 3), y=np.array([0, 2, 2, 5], np.uint8), other=np.zeros(1)))
    assert rows.y is not None
    assert rows.y.tolist() == [0, 1, 1, 2]
    assert rows.y.dtype == torch.int64
    assert rows.classes == ("0", "2", "5")
    assert from_array(save(arr=uniform(4, 3))).y is None
    assert from_array(save(arr=uniform(4, 3), y=np.zeros(4, int))).classes == ("0",)


@pytest.mark.parametrize(
    ("x", "named"),
    [
        (np.zeros((0, 4, 4)), "(0, 4, 4)"),
        (np.zeros((4, 0)), "(4, 0)"),
        (np.float64(3), "()"),
        (np.zeros((2, 3, 4, 5, 6)), "(2, 3, 4, 5, 6)"),
        (uniform(2, 8, 8, 4), "(2, 8, 8, 4)"),
        (uniform(2, 4, 4) * 255, "divide by 255"),
        (uniform(2, 4, 4) * 2 - 1, "(x + 1) / 2"),
        (np.where(np.arange(32) == 3, np.nan, 0.5).reshape(2, 4, 4), "1 NaN"),
        (np.array([[1e300], [0.0], [1.0]]), "row 1, column '0': expected numbers up to 1e+150, got 1e+300"),
        (np.array([[0.0, 1.0], [-np.inf, np.nan]]), "row 2, column '0': expected a finite number, got -inf"),
        (np.full((2, 4, 4), 70_000), "int64 images from 0 to 255 or 65535, got 70000"),
        (np.full((2, 4, 4), -1), "-1 to -1"),
        (np.ones((2, 3), complex), "complex128"),
        (np.array(["a", "b"]), "<U1"),
        (np.zeros(3, [("a", "f4")]), "('a', '<f4')"),
        (np.array([None, 1], dtype=object), "allow_pickle=False"),
    ],
)
def test_invalid_arrays(save: Save, x: np.ndarray, named: str) -> None:
    file = save(x)
    message = refusal(file)
    assert str(file) in message
    assert named in message


@pytest.mark.parametrize(
    ("y", "named"),
    [
        (np.array([0.0, 1.5, 2.0, 3.0]), "row 2: expected labels, whole numbers or texts; got 1.5"),
        (np.zeros(4, complex), "complex128"),
        (np.array([0, 1, 2]), "(3,)"),
        (np.array([[0], [1], [2], [3]]), "(4, 1)"),
    ],
)
def test_invalid_labels(save: Save, y: np.ndarray, named: str) -> None:
    message = refusal(save(x=uniform(4, 3), y=y))
    assert "y" in message
    assert named in message


def test_a_npz_without_an_array_x(save: Save) -> None:
    message = refusal(save(x_train=uniform(4, 3), x_test=uniform(2, 3)))
    assert "got 'x_test', 'x_train'" in message
    assert "got 'y'" in refusal(save(y=uniform(4, 3)))


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("is_npz", [False, True])
def test_damaged_files(save: Save, kept: float, is_npz: bool) -> None:
    file = save(x=uniform(20, 30)) if is_npz else save(uniform(20, 30))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    assert str(file) in refusal(file)


def test_missing_files_and_files_without_arrays(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "a.npy")
    (tmp_path / "b.npz").write_text("text")
    assert str(tmp_path / "b.npz") in refusal(tmp_path / "b.npz")
    (tmp_path / "c.npy").mkdir()
    assert str(tmp_path / "c.npy") in refusal(tmp_path / "c.npy")
