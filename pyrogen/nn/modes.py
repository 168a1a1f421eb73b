"""Training and evaluation mode, put back as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*modules: object) -> Iterator[None]:
    """Evaluation mode (dropout off, BatchNorm by its running statistics) inside; what was, after.

    Arguments that are no networks are left alone.
    """
    parts = [part for module in modules if isinstance(module, nn.Module) for part in module.modules()]
    before = [part.training for part in parts]
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part, training in zip(parts, before, strict=True):
            part.training = training
