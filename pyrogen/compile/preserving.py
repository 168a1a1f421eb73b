"""State that tracing and verification must leave as it was: values of tensors, gradients and random generators."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrogen.random import preserved_random_state


def python_random_state() -> tuple[Any, ...]:
    """The state of Python's and NumPy's global generators."""
    _kind, key, *rest = np.random.get_state(legacy=True)
    return random.getstate(), np.asarray(key).tobytes(), *rest


@contextmanager
def hide_gradients(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Hide ``.grad`` inside: an old gradient may have another dtype or shape than its tensor has by now."""
    hidden = [(t, t.grad) for t in tensors if t.is_leaf and t.grad is not None]
    for tensor, _ in hidden:
        tensor.grad = None
    try:
        yield
    finally:
        for tensor, gradient in hidden:
            if gradient.shape == tensor.shape and gradient.dtype == tensor.dtype:
                tensor.grad = gradient


@contextmanager
def preserve_state(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Restore torch's random state and the values of ``tensors`` afterwards."""
    copies = [(t, t.detach().clone()) for t in tensors]
    try:
        with preserved_random_state():
            yield
    finally:
        with torch.no_grad():
            for tensor, before in copies:
                if not torch.equal(tensor, before):
                    tensor.copy_(before)
