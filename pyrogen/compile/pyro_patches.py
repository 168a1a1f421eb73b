"""Pyro's losses without a look at any value, so that a graph can be made of them.

Pyro reads the loss as a number, warns of NaN, validates what it samples, and leaves impossible values of enumerated
sites out of a sum. None of that is arithmetic of the loss, and each asks for a value that a graph does not have yet.
``LibraryChecks`` answers in their place. It is a mode of torch, which holds for the present thread alone: code that
runs elsewhere meanwhile is not touched.
"""

import linecache
import sys
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SYMBOLS = (torch.SymInt, torch.SymFloat, torch.SymBool)
ITEM, BOOL = Tensor.item, Tensor.__bool__


def _lower_triangle(matrix: Tensor) -> tuple[Any, ...]:
    """The index of a triangle by places, where a function of ``torch.distributions.utils`` has a mask."""
    diagonal = sys._getframe(3).f_locals["diag"]
    rows, columns = matrix.shape[-2:]
    return ..., *torch.tril_indices(rows, columns, offset=diagonal, device=matrix.device)


def _get_triangle(matrix: Tensor, _: Any) -> Tensor:
    return matrix[_lower_triangle(matrix)]


def _set_triangle(matrix: Tensor, _: Any, vector: Tensor) -> None:
    matrix[_lower_triangle(matrix)] = vector


ANSWERS: dict[tuple[Any, str, str], Any] = {
    # The loss as a number: it stays a tensor.
    (ITEM, "pyro.infer.util", "torch_item"): Tensor.detach,
    # Whether a tensor is the number zero or one: no tensor is known to be.
    (ITEM, "pyro.distributions.util", "is_identically_zero"): lambda _: float("nan"),
    (ITEM, "pyro.distributions.util", "is_identically_one"): lambda _: float("nan"),
    # Warnings of NaN and infinity.
    (BOOL, "pyro.util", "warn_if_nan"): lambda _: False,
    (BOOL, "pyro.util", "warn_if_inf"): lambda _: False,
    (BOOL, "pyro.util", "torch_isinf"): lambda _: False,
    (Tensor.register_hook, "pyro.util", "warn_if_nan"): lambda *_: None,
    (Tensor.register_hook, "pyro.util", "warn_if_inf"): lambda *_: None,
    # Whether all values of an enumerated site are possible. Impossible ones then add zero to the sum.
    (BOOL, "pyro.infer.util", "compute_expectation"): lambda _: False,
    (Tensor.masked_select, "pyro.infer.util", "compute_expectation"): lambda x, mask: x.where(mask, x.new_zeros(())),
    # Validation of arguments and samples.
    (BOOL, "torch.distributions.distribution", "__init__"): lambda _: True,
    (BOOL, "torch.distributions.distribution", "_validate_sample"): lambda _: True,
    (BOOL, "torch.distributions.distribution", "_all_true_or_runtime_assert"): lambda _: True,  # from torch 2.15 on
    (BOOL, "pyro.poutine.scale_messenger", "__init__"): lambda _: True,
    (BOOL, "torch.distributions.constraints", "check"): lambda _: True,
    (BOOL, "torch.distributions.geometric", "__init__"): lambda _: True,
    (BOOL, "torch.distributions.continuous_bernoulli", "__init__"): lambda _: True,
    (BOOL, "torch.distributions.wishart", "__init__"): lambda _: False,
    # Which entries of a matrix lie below its diagonal: that follows from its shape.
    (Tensor.__getitem__, "torch.distributions.utils", "tril_matrix_to_vec"): _get_triangle,
    (Tensor.__setitem__, "torch.distributions.utils", "vec_to_tril_matrix"): _set_triangle,
    # Whether the general formula, with a hole, is needed at all.
    (BOOL, "pyro.distributions.stable", "_standard_stable"): lambda _: True,
}
"""What is answered to a question about a value, by the function of the library that asks it."""


class DependsOnValue(Exception):
    """Python depends on the value of a tensor, which a graph does not know."""


def depends_on_value(result: Any) -> bool:
    """Whether a number, or the shape of a tensor, is known only when values are."""
    shape = result.shape if isinstance(result, Tensor) else ()
    return isinstance(result, SYMBOLS) or any(type(n) is not int for n in shape)


class LibraryChecks(TorchFunctionMode):
    """Inside, Pyro's and torch's own questions about values are answered by ``ANSWERS``; a program's are not.

    Raises:
        DependsOnValue: where a number or a shape comes from the values of a tensor.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``, unless it is one of the questions."""
        if func in QUESTIONS:
            module, asking, line = _asked_by()
            if (func, module, asking) in ANSWERS:
                return ANSWERS[func, module, asking](*args)
            if func is BOOL and line.startswith("assert ") and module.startswith(("pyro.", "torch.")):
                return True
        result = func(*args, **(kwargs or {}))
        if depends_on_value(result):
            raise DependsOnValue
        return result


def _asked_by() -> tuple[str, str, str]:
    """The module, the function and the line of code that called torch."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("torch.overrides", "torch._tensor"):
        frame = frame.f_back
    code = frame.f_code
    line = linecache.getline(code.co_filename, frame.f_lineno)
    return frame.f_globals.get("__name__", ""), code.co_name, line.strip()


QUESTIONS = frozenset(question for question, _, _ in ANSWERS)


def differentiable(loss: Any, model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``loss.differentiable_loss(model, guide, *args)`` with its value left on the device."""
    with LibraryChecks():
        value: Tensor = torch.as_tensor(loss.differentiable_loss(model, guide, *args, **kwargs))
    return value
