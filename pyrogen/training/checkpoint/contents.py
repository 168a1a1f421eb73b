"""What a checkpoint holds of each part: its weights by name, and its state beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyrogen.data.fingerprint import Keys
from pyrogen.errors import DataError, RunError
from pyrogen.files import LARGEST_TEXT, read_regular
from pyrogen.protocols import Stateful
from pyrogen.torch_file import read_torch_file
from pyrogen.training.checkpoint.manifest import STATE, STATE_OF_0_1, TENSORS, WEIGHTS, Damaged, Manifest
from pyrogen.training.checkpoint.state import STORED_DTYPES, Encoder, WeightsOf, decode
from pyrogen.training.seen import seen_keys

_SEEN_IN_0_1 = "rows seen"


@dataclass(frozen=True)
class Contents:
    """The parts of a checkpoint.

    Args:
        states: what ``load_state_dict`` of each part takes.
        seen: the keys of the rows that a part was trained on, where they are known.
    """

    states: dict[str, Any]
    seen: dict[str, Keys]


@dataclass(frozen=True)
class Stored:
    """The parts of a checkpoint as they are written.

    Args:
        weights: each weight once, by part and name.
        aliases: the further names of shared weights.
        tensors: those of the state.
        state: the rest of it, as JSON.
    """

    weights: dict[str, Tensor]
    aliases: dict[str, str]
    tensors: dict[str, Tensor]
    state: str

    @property
    def nbytes(self) -> int:
        """The bytes of what is written, without names."""
        return sum(t.nbytes for t in (*self.weights.values(), *self.tensors.values())) + len(self.state)

    def write(self, path: Path) -> None:
        """Write all but the manifest into the folder ``path``."""
        save_file(self.weights, path / WEIGHTS)
        save_file(self.tensors, path / TENSORS)
        (path / STATE).write_text(self.state, encoding="ascii")


def collect(parts: Mapping[str, Stateful]) -> Stored:
    """The state of all parts, in the form in which it is written.

    Raises:
        RunError: for a part whose state cannot be stored; the message names what in it.
    """
    encoder, weights, aliases, states = Encoder(), dict[str, Tensor](), dict[str, str](), dict[str, Any]()
    places: dict[tuple[Any, ...], str] = {}
    # All are held until the end, so that an address is that of one tensor.
    given = {part: stateful.state_dict() for part, stateful in parts.items()}
    for part, whole in given.items():
        if "." in part:
            raise RunError(f"cannot save a part called {part!r}: expected a name without a dot")
        named, rest = _split(part, whole)
        states[part] = encoder.encode(rest, part)
        for key, tensor in named.items():
            name = f"{part}.{key}"
            place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (name,)
            if place in places:
                aliases[name] = places[place]
            else:
                places[place] = name
                weights[name] = tensor.detach().cpu().contiguous().clone()
    keys = {part: seen_keys(stateful) for part, stateful in parts.items()}
    seen = {part: encoder.encode(found, f"rows of {part}") for part, found in keys.items() if found is not None}
    state = json.dumps({"parts": states, "seen": seen}, allow_nan=False)
    if len(state) > LARGEST_TEXT:
        raise RunError(
            f"cannot save a state of {len(state):,} bytes beside its tensors, at most {LARGEST_TEXT:,} expected: "
            "keep long lists as tensors"
        )
    return Stored(weights, aliases, encoder.tensors, state)


def read(path: Path, manifest: Manifest) -> Contents:
    """The contents of the checkpoint ``path``, whose files have the checksums of its manifest.

    Raises:
        Damaged: if they are not what ``collect`` makes.
    """
    try:
        weights = _load(path / WEIGHTS)
        for name, other in manifest.aliases.items():
            if name in weights or other not in weights:
                raise Damaged(f"the weight {name!r} is to be {other!r}, which {WEIGHTS} does not hold")
        weights |= {name: weights[other] for name, other in manifest.aliases.items()}
        return _read_0_1(path, weights) if manifest.format == 1 else _read(path, weights)
    except (Damaged, MemoryError):
        raise
    except DataError as error:
        raise Damaged(str(error)) from error
    except Exception as error:  # files with their checksums that are no checkpoint: somebody made them
        raise Damaged(f"its contents are not those of a checkpoint: {type(error).__name__}") from error


def _read(path: Path, weights: dict[str, Tensor]) -> Contents:
    tensors, tree = _load(path / TENSORS), json.loads(read_regular(path / STATE))
    by_part = {part: _of_part(weights, part) for part in tree["parts"]}
    states = {part: decode(state, tensors, by_part) for part, state in tree["parts"].items()}
    return Contents(states, {part: decode(keys, tensors, by_part) for part, keys in tree["seen"].items()})


def _read_0_1(path: Path, weights: dict[str, Tensor]) -> Contents:
    """The form of version 0.1: the state is a file of ``torch.save``, and ``None`` for a part of weights alone."""
    state = read_torch_file(path / STATE_OF_0_1)
    seen = {part: keys.numpy().view(np.uint64) for part, keys in state.pop(_SEEN_IN_0_1, {}).items()}
    states = {}
    for part, rest in state.items():
        named = _of_part(weights, part)
        states[part] = named if rest is None else {"weights": named, **rest} if named else rest
    return Contents(states, seen)


def _load(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, in aligned memory: in which order torch sums values depends on their address."""
    return {name: tensor.clone() for name, tensor in load_file(file).items()}


def _of_part(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in weights.items() if name.startswith(f"{part}.")}


def _split(part: str, state: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any]:
    """The weights of a state, and the state with a placeholder for them; a module's state is weights alone."""
    if _are_weights(state):
        return dict(state), WeightsOf(part)
    if isinstance(state, Mapping) and _are_weights(state.get("weights")):
        return dict(state["weights"]), {**state, "weights": WeightsOf(part)}
    return {}, state


def _are_weights(state: Any) -> bool:
    """Whether all values are tensors that safetensors holds."""
    return isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(t, Tensor) and t.layout == torch.strided and t.dtype in STORED_DTYPES
        for name, t in state.items()
    )
