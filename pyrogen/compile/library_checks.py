"""Trace Pyro's losses without reading the value of any tensor.

Pyro reads the loss as a Python number, warns about NaN, validates samples, and drops impossible values of enumerated
sites from a sum. None of this changes the loss, but each needs a value that is not known during tracing.
``SkipLibraryChecks`` replaces these checks by fixed results. It is a ``TorchFunctionMode``, which is local to the
current thread: code in other threads is not affected.
"""

import linecache
import sys
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SYMBOLIC_TYPES = (torch.SymInt, torch.SymFloat, torch.SymBool)
ITEM, BOOL = Tensor.item, Tensor.__bool__


def _lower_triangle(matrix: Tensor) -> tuple[Any, ...]:
    """Integer indices of a lower triangle, in place of the Boolean mask of ``torch.distributions.utils``."""
    diagonal = sys._getframe(3).f_locals["diag"]
    rows, columns = matrix.shape[-2:]
    return ..., *torch.tril_indices(rows, columns, offset=diagonal, device=matrix.device)


def _get_triangle(matrix: Tensor, _: Any) -> Tensor:
    return matrix[_lower_triangle(matrix)]


def _set_triangle(matrix: Tensor, _: Any, vector: Tensor) -> None:
    matrix[_lower_triangle(matrix)] = vector


CHECK_RESULTS: dict[tuple[Any, str, str], Any] = {
    # The loss as a Python number: it stays a tensor.
    (ITEM, "pyro.infer.util", "torch_item"): Tensor.detach,
    # Whether a tensor is identically zero or one: not known for any tensor.
    (ITEM, "pyro.distributions.util", "is_identically_zero"): lambda _: float("nan"),
    (ITEM, "pyro.distributions.util", "is_identically_one"): lambda _: float("nan"),
    # Warnings about NaN and infinity.
    (BOOL, "pyro.util", "warn_if_nan"): lambda _: False,
    (BOOL, "pyro.util", "warn_if_inf"): lambda _: False,
    (BOOL, "pyro.util", "torch_isinf"): lambda _: False,
    (Tensor.register_hook, "pyro.util", "warn_if_nan"): lambda *_: None,
    (Tensor.register_hook, "pyro.util", "warn_if_inf"): lambda *_: None,
    # Whether all values of an enumerated site have positive probability. Impossible ones then add zero to the sum.
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
    # Which entries of a matrix lie below its diagonal: known from its shape.
    (Tensor.__getitem__, "torch.distributions.utils", "tril_matrix_to_vec"): _get_triangle,
    (Tensor.__setitem__, "torch.distributions.utils", "vec_to_tril_matrix"): _set_triangle,
    # Whether the general formula for stable distributions, which has a singularity, is needed.
    (BOOL, "pyro.distributions.stable", "_standard_stable"): lambda _: True,
}
"""The fixed result of each check, by the torch function called and the module and function that call it."""


class DependsOnTensorValue(Exception):
    """Python code depends on the value of a tensor, which is not known while a graph is traced."""


class NothingToTrain(Exception):
    """The value of a function depends on no captured leaf tensor."""


def depends_on_value(result: Any) -> bool:
    """Whether a result is a symbolic number, or a tensor whose shape is symbolic."""
    shape = result.shape if isinstance(result, Tensor) else ()
    return isinstance(result, SYMBOLIC_TYPES) or any(type(n) is not int for n in shape)


class SkipLibraryChecks(TorchFunctionMode):
    """Replace value-dependent checks inside Pyro and torch by ``CHECK_RESULTS``; checks in user code are kept.

    Raises:
        DependsOnTensorValue: if a number or a shape depends on the values of a tensor.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``, unless it is one of the replaced checks."""
        if func in CHECK_FUNCTIONS:
            module, caller, line = _caller()
            if (func, module, caller) in CHECK_RESULTS:
                return CHECK_RESULTS[func, module, caller](*args)
            if func is BOOL and line.startswith("assert ") and module.startswith(("pyro.", "torch.")):
                return True
        result = func(*args, **(kwargs or {}))
        if depends_on_value(result):
            raise DependsOnTensorValue
        return result


def _caller() -> tuple[str, str, str]:
    """Return the module, the function and the line of code that called torch."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("torch.overrides", "torch._tensor"):
        frame = frame.f_back
    code = frame.f_code
    line = linecache.getline(code.co_filename, frame.f_lineno)
    return frame.f_globals.get("__name__", ""), code.co_name, line.strip()


CHECK_FUNCTIONS = frozenset(function for function, _, _ in CHECK_RESULTS)


def differentiable_loss(loss: Any, model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return ``loss.differentiable_loss(model, guide, *args)`` as a tensor on the device."""
    with SkipLibraryChecks():
        value: Tensor = torch.as_tensor(loss.differentiable_loss(model, guide, *args, **kwargs))
    return value
