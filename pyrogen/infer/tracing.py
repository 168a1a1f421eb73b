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
LIBRARIES = ("pyro/", "infer/", "distributions/", "ops/", "torch/", "contrib/", "poutine/", "nn/")
"""How the places of Pyro's and torch's modules begin, whose assertions are taken to hold."""
ITEM, BOOL = Tensor.item, Tensor.__bool__
ANSWERS: dict[tuple[Any, str, str], Any] = {
    # The loss as a number: it stays a tensor.
    (ITEM, "pyro/infer/util.py", "torch_item"): Tensor.detach,
    # Whether a tensor is the number zero or one: no tensor is known to be.
    (ITEM, "pyro/distributions/util.py", "is_identically_zero"): lambda _: float("nan"),
    (ITEM, "pyro/distributions/util.py", "is_identically_one"): lambda _: float("nan"),
    # Warnings of NaN and infinity.
    (BOOL, "pyro/util.py", "warn_if_nan"): lambda _: False,
    (BOOL, "pyro/util.py", "warn_if_inf"): lambda _: False,
    (BOOL, "pyro/util.py", "torch_isinf"): lambda _: False,
    (Tensor.register_hook, "pyro/util.py", "warn_if_nan"): lambda *_: None,
    (Tensor.register_hook, "pyro/util.py", "warn_if_inf"): lambda *_: None,
    # Whether all values of an enumerated site are possible. Impossible ones then add zero to the sum.
    (BOOL, "pyro/infer/util.py", "compute_expectation"): lambda _: False,
    (Tensor.masked_select, "pyro/infer/util.py", "compute_expectation"): lambda x, mask: x.where(mask, x.new_zeros(())),
    # Validation of arguments and samples.
    (BOOL, "torch/distributions/distribution.py", "__init__"): lambda _: True,
    (BOOL, "torch/distributions/distribution.py", "_validate_sample"): lambda _: True,
    (BOOL, "torch/distributions/constraints.py", "check"): lambda _: True,
    (BOOL, "torch/distributions/geometric.py", "__init__"): lambda _: True,
    (BOOL, "torch/distributions/continuous_bernoulli.py", "__init__"): lambda _: True,
    (BOOL, "torch/distributions/wishart.py", "__init__"): lambda _: False,
    # Whether the general formula, with a hole, is needed at all.
    (BOOL, "pyro/distributions/stable.py", "_standard_stable"): lambda _: True,
}
"""What is answered to a question about a value, by the function of the library that asks it."""


class DependsOnValue(Exception):
    """Python depends on the value of a tensor, which a graph does not know."""


class LibraryChecks(TorchFunctionMode):
    """Inside, Pyro's and torch's own questions about values are answered by ``ANSWERS``; a program's are not.

    Raises:
        DependsOnValue: where a number or a shape comes from the values of a tensor.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``, unless it is one of the questions."""
        if func in QUESTIONS:
            place, asking, line = _asked_by()
            for part in (place, place.partition("/")[2]):
                if (func, part, asking) in ANSWERS:
                    return ANSWERS[func, part, asking](*args)
            if func is BOOL and line.startswith("assert ") and place.startswith(LIBRARIES):
                return True
        result = func(*args, **(kwargs or {}))
        shape = result.shape if isinstance(result, Tensor) else ()
        if isinstance(result, SYMBOLS) or any(type(n) is not int for n in shape):
            raise DependsOnValue
        return result


def _asked_by() -> tuple[str, str, str]:
    """The file, the function and the line of code that called torch, the file as its last three parts."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.endswith(("overrides.py", "_tensor.py")):
        frame = frame.f_back
    file, code = frame.f_code.co_filename, frame.f_code
    place = "/".join(file.replace("\\", "/").rsplit("/", 3)[-3:])
    return place, code.co_name, linecache.getline(file, frame.f_lineno).strip()


QUESTIONS = frozenset(question for question, _, _ in ANSWERS)


def differentiable(loss: Any, model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``loss.differentiable_loss(model, guide, *args)`` with its value left on the device."""
    with LibraryChecks():
        value: Tensor = torch.as_tensor(loss.differentiable_loss(model, guide, *args, **kwargs))
    return value
