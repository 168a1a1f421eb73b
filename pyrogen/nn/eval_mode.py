"""A context manager for evaluation mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(*modules: object) -> Iterator[None]:
    """Switch networks to evaluation mode (no dropout, running statistics in BatchNorm) and restore their modes after.

    An object that is not a network may list its networks by ``modules()``, as an ``SVI`` step does, or have them as
    attributes.
    """
    networks = list({id(network): network for module in modules for network in _modules(module)}.values())
    before = [network.training for network in networks]
    for network in networks:
        network.training = False
    try:
        yield
    finally:
        for network, training in zip(networks, before, strict=True):
            network.training = training


def _modules(owner: object) -> Iterator[nn.Module]:
    modules = getattr(owner, "modules", None)
    if callable(modules):
        yield from modules()
        return
    for value in getattr(owner, "__dict__", {}).values():
        if isinstance(value, nn.Module):
            yield from value.modules()
