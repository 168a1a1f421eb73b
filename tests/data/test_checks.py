"""Each refusal names what was given and what was expected."""

import pytest
import torch
from torch import Tensor

from pyrogen.data.checks import check_enough, check_finite, check_images, check_labels
from pyrogen.errors import DataError


def refusal(check, *args) -> str:
    """The message with which ``check`` refuses ``args``, which is one line."""
    with pytest.raises(DataError) as caught:
        check(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(5, 1, 8, 8),
        torch.rand(5, 3, 1, 1, dtype=torch.float64),
        torch.randint(256, (1, 3, 4, 9)).byte(),
        torch.tensor([0.0, 1.0]).view(2, 1, 1, 1),
    ],
)
def test_images_that_are_fine(x: Tensor) -> None:
    check_images(x, "x")


@pytest.mark.parametrize(
    ("low", "high", "hint"),
    [(0, 255, "divide by 255"), (-1, 1, "(x + 1) / 2"), (0, 4095, "x.max()"), (-2.5, 1, "x.min()")],
)
def test_a_wrong_range_is_told_with_the_way_out(low: float, high: float, hint: str) -> None:
    message = refusal(check_images, torch.tensor([low, high], dtype=torch.float32).view(2, 1, 1, 1), "faces.npy")
    assert message.startswith("faces.npy: ")
    assert f"{low:g} to {high:g}" in message
    assert hint in message


def test_values_that_are_not_finite_are_counted() -> None:
    x = torch.rand(2, 1, 2, 2)
    x[0, 0, 0] = torch.nan
    x[1, 0, 1, 1] = torch.inf
    message = refusal(check_images, x, "x")
    assert "2 NaN and 1 infinite of 8" in message
    assert refusal(check_finite, torch.tensor([-torch.inf, 0.0]), "x").endswith("0 NaN and 1 infinite of 2")


@pytest.mark.parametrize(
    ("x", "named"),
    [
        (torch.rand(5, 8, 8), "(5, 8, 8)"),
        (torch.rand(5, 2, 8, 8), "(5, 2, 8, 8)"),
        (torch.rand(0, 1, 8, 8), "(0, 1, 8, 8)"),
        (torch.zeros(5, 1, 8, 8, dtype=torch.int64), "torch.int64"),
        (torch.zeros(5, 1, 8, 8, dtype=torch.bool), "torch.bool"),
        (torch.zeros(5, 1, 8, 8, dtype=torch.complex64), "torch.complex64"),
    ],
)
def test_no_batch_of_images(x: Tensor, named: str) -> None:
    assert named in refusal(check_images, x, "x")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_labels_that_are_fine_may_skip_classes(dtype: torch.dtype) -> None:
    check_labels(torch.tensor([0, 7, 2], dtype=dtype), 3, "y")
    check_labels(torch.tensor([], dtype=dtype), 0, "y")


@pytest.mark.parametrize(
    ("y", "named"),
    [
        (torch.tensor([0.0, 1.0, 2.0]), "torch.float32"),
        (torch.tensor([0, 1]), "(2,)"),
        (torch.zeros(3, 1, dtype=torch.int64), "(3, 1)"),
        (torch.tensor([0, -1, 1]), "-1 to 1"),
        (torch.tensor([0, 1, 20260101]), "0 to 20260101"),
    ],
)
def test_labels_that_name_no_class(y: Tensor, named: str) -> None:
    assert named in refusal(check_labels, y, 3, "y")


def test_less_than_one_batch() -> None:
    check_enough(256, 256)
    message = refusal(check_enough, 100, 256)
    assert "100 training rows" in message
    assert "256" in message
    assert "--batch-size 100" in message
    assert "got 0" in refusal(check_enough, 100, 0)
