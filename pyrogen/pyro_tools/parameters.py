"""The networks and parameters that a Pyro program trains, registered with ``pyro.module`` or not."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def modules_of(program: Callable[..., Any], name: str) -> dict[str, nn.Module]:
    """Find the networks of ``program`` and give each a stable name.

    A network is found as the callable itself, as the owner of a bound method, as an attribute of an owner that is not
    a network, and as a global or closure variable of a function. These names are keys of checkpoints, so this search
    is simpler than ``compile.state_walk``, which follows everything that a program can reach.
    """
    if isinstance(program, nn.Module):
        return {name: program}
    if isinstance(program, functools.partial):
        return modules_of(program.func, name)
    owner = getattr(program, "__self__", None)
    if isinstance(owner, nn.Module):
        return {name: owner}
    found = {} if owner is None else dict(getattr(owner, "__dict__", {}))
    function = inspect.unwrap(getattr(program, "__func__", program))
    if inspect.isfunction(function):
        seen = inspect.getclosurevars(function)
        found |= {**seen.globals, **seen.nonlocals}
    networks = {f"{name}.{key}": value for key, value in found.items() if isinstance(value, nn.Module)}
    for key, value in found.items():
        method_owner = getattr(value, "__self__", None)
        if inspect.ismethod(value) and isinstance(method_owner, nn.Module):
            networks[f"{name}.{key}"] = method_owner
    return networks


def weights_of(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Return the parameters and persistent buffers of all modules as ``module.path``, each tensor once."""
    named = {f"{name}.{key}": t for name, m in modules.items() for key, t in m.state_dict(keep_vars=True).items()}
    return unique(named)


def unique(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mapping with every tensor under its first name only."""
    first: dict[int, str] = {}
    return {name: t for name, t in named.items() if first.setdefault(id(t), name) == name}


def leaves(loss: Tensor) -> Iterator[Tensor]:
    """Yield the leaf tensors that ``loss`` depends on, in a fixed order."""
    stack, seen = [loss.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            yield variable
        stack.extend(parent for parent, _ in node.next_functions)


def assign(target: dict[str, Tensor], source: dict[str, Tensor]) -> None:
    """Copy values into the tensors of the same names.

    Raises:
        KeyError: if names or shapes differ; nothing is copied then.
    """
    if target.keys() != source.keys():
        missing, extra = sorted(target.keys() - source.keys()), sorted(source.keys() - target.keys())
        raise KeyError(f"the saved weights do not match this model: missing {missing}, not expected {extra}")
    for name, tensor in target.items():
        if tensor.shape != source[name].shape:
            shapes = f"expected shape {tuple(tensor.shape)}, got {tuple(source[name].shape)}"
            raise KeyError(f"the saved weights do not match this model: {name}: {shapes}")
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])
