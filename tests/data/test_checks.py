"""Every error names what was given and what was expected."""

import pytest
import torch
from torch import Tensor

from pyrogen.data.checks import check_batch_size, check_finite, check_images
from pyrogen.errors import DataError


def refusal(check, *args) -> str:
    """Return the error message of ``check`` for ``args``, which must be one line."""
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
def test_valid_images(x: Tensor) -> None:
    check_images(x, "x")


@pytest.mark.parametrize(
    ("low", "high", "hint"),
    [(0, 255, "divide by 255"), (-1, 1, "(x + 1) / 2"), (0, 4095, "x.max()"), (-2.5, 1, "x.min()")],
)
def test_the_error_for_a_wrong_range_suggests_a_rescaling(low: float, high: float, hint: str) -> None:
    message = refusal(check_images, torch.tensor([low, high], dtype=torch.float32).view(2, 1, 1, 1), "faces.npy")
    assert message.startswith("faces.npy: ")
    assert f"{low:g} to {high:g}" in message
    assert hint in message


def test_non_finite_values_are_counted() -> None:
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
def test_invalid_batches_of_images(x: Tensor, named: str) -> None:
    assert named in refusal(check_images, x, "x")


def test_less_than_one_batch() -> None:
    check_batch_size(256, 256)
    message = refusal(check_batch_size, 100, 256)
    assert "at least 256 training rows" in message
    assert "got 100" in message
    assert "--batch-size 100" in message
    assert "got 0" in refusal(check_batch_size, 100, 0)
