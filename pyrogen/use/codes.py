"""Codes of data: what an encoder makes of a datum, and what a decoder makes of a code.

    z = μ(x) = E_q[z | x],  or z ~ q(z | x);      x̂ = E[x | z]

The mean gives the better reconstruction; a draw has the spread that the decoder was trained for.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Reconstructing
from pyrogen.pyro_tools.decoders import find_decoder, is_pair
from pyrogen.pyro_tools.latents import LatentProgram
from pyrogen.pyro_tools.programs import arity, drop_extra_args
from pyrogen.random import derive, scoped_seed

ROWS = 1000
"""The most data per call of a network, to bound the memory."""


def has_codes(model: Any) -> bool:
    """Whether ``encode`` has codes of data under a model."""
    return callable(getattr(model, "encode", None)) or is_pair(model)


def needs_y(model: Any) -> bool:
    """Whether a model is to be given side information: by its ``condition``, or by the arguments of a bare pair."""
    if hasattr(model, "condition"):
        return model.condition is not None
    return is_pair(model) and arity(model.model) > 1


def encode(model: Any, x: Tensor, y: Tensor | None = None, *, draw: bool = False, seed: int = 0) -> Tensor:
    """The codes of data, ``(n, latent)``; of a VQ-VAE ``long (n, positions)``.

    Args:
        model: a model with ``encode(x, y)``, or a Pyro pair, whose code is the vector of all latent variables of a
            datum, in the model's order.
        x: data in model coordinates, ``(n, *event)``.
        y: side information with ``n`` rows.
        draw: draw z ~ q(z | x) in place of its mean; a deterministic encoder has one code.
        seed: of the draws.

    Raises:
        ConfigError: if the model has no encoder.
    """
    if draw and is_pair(model):
        program = LatentProgram(model, x, *(() if y is None else (y,)))
        columns = program.columns(encode(model, x[:1], None if y is None else y[:1]).shape[1])
        return by_rows(model, lambda *rows: program.encode(*rows, draw=True)[:, columns], seed, x, y)
    if callable(getattr(model, "encode", None)):
        return by_rows(model, drop_extra_args(model.encode), seed, x, y)
    if is_pair(model):
        return by_rows(model, LatentProgram(model, x, *(() if y is None else (y,))).encode, seed, x, y)
    raise ConfigError(f"a {type(model).__name__} has no codes: it has neither encode(x, y) nor a Pyro guide")


def decode(model: Any, z: Tensor, y: Tensor | None = None, *, like: Tensor | None = None) -> Tensor:
    """The data of codes, E[x | z], ``(n, *event)`` in model coordinates.

    Args:
        model: a model with ``decode(z, y)``, an implicit model with ``generator(z, y)``, or a Pyro pair.
        z: codes, ``(n, latent)``.
        y: side information with ``n`` rows.
        like: for a bare Pyro pair: data, at least one row, of which the shape is taken.

    Raises:
        ConfigError: if the model has no decoder; or for a bare pair without ``like``.
    """
    return by_rows(model, decoder(model, y, like), 0, z, y)


def decoder(model: Any, y: Tensor | None = None, like: Tensor | None = None) -> Callable[..., Tensor]:
    """The decoder of a model as a differentiable function ``(z, y) -> E[x | z]``; arguments as for ``decode``."""
    found = find_decoder(model)
    if found is not None:
        return found
    if is_pair(model):
        if like is None:
            raise ConfigError("decoding by a bare Pyro pair needs some data as `like`, of which the shape is taken")
        return LatentProgram(model, like[:1], *(() if y is None else (y[:1],))).mean
    raise ConfigError(f"a {type(model).__name__} has no decoder: it has neither decode, generator nor a Pyro model")


def reconstruct(model: Any, x: Tensor, y: Tensor | None = None, *, draw: bool = False, seed: int = 0) -> Tensor:
    """Encode and decode data: ``(n, *event)`` in model coordinates.

    Args:
        model: as for ``encode`` and ``decode``, or with ``reconstruct(x, y)``.
        x: data, ``(n, *event)``.
        y: side information with ``n`` rows.
        draw: decode a draw of the code in place of its mean.
        seed: of the draws.

    Raises:
        ConfigError: if the model has no encoder or no decoder.
    """
    if isinstance(model, Reconstructing) and not draw:
        return by_rows(model, drop_extra_args(model.reconstruct), seed, x, y)
    return decode(model, encode(model, x, y, draw=draw, seed=seed), y, like=x)


@torch.no_grad()
def by_rows(model: Any, function: Callable[..., Tensor], seed: int, first: Tensor, y: Tensor | None) -> Tensor:
    """Call a function in evaluation mode on at most ``ROWS`` rows at a time."""
    if not len(first):
        raise ConfigError("expected at least one row, got none")
    parts = zip(*(rows.split(ROWS) for rows in (first, y) if rows is not None), strict=True)
    with eval_mode(model), scoped_seed(derive(seed, "codes")):
        return torch.cat([function(*part) for part in parts])
