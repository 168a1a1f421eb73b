"""Training and evaluation mode, put back as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(*modules: object) -> Iterator[None]:
    """Evaluation mode (dropout off, BatchNorm by its running statistics) inside; what was, after.

    A thing that is no network may say which ones it has by ``modules()``, as an ``SVI`` step does, or hold them as
    attributes.
    """
    parts = list({id(part): part for module in modules for part in _parts(module)}.values())
    before = [part.training for part in parts]
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part, training in zip(parts, before, strict=True):
            part.training = training


def _parts(thing: object) -> Iterator[nn.Module]:
    modules = getattr(thing, "modules", None)
    if callable(modules):
        yield from modules()
        return
    for value in getattr(thing, "__dict__", {}).values():
        if isinstance(value, nn.Module):
            yield from value.modules()
