"""Compressed files of data by a model: a sealed header of one line, then the words of the code.

A likelihood is a code length, so the size of the file checks it. Decoding needs the probabilities of coding, bit for
bit: the header holds the digests of model and data, the version of torch, the number of threads and the instruction
set, and what was decoded is compared with the digest of what was coded.
"""

import hashlib
import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrogen.data.space import Space
from pyrogen.errors import DataError, RunError
from pyrogen.files import seal_json, unseal_json
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.use.coding import codec

FORMAT = 1


@torch.no_grad()
def compress(model: Any, space: Space, x: Tensor) -> bytes:
    """Compress data; lossless but for a VQ-VAE.

    Args:
        model: as for ``codec``, on the CPU.
        space: of its data.
        x: data in model coordinates, ``(n, *shape)``; their grey levels are coded.

    Raises:
        ConfigError: if the model cannot compress.
        DataError: for no data.
    """
    if not len(x):
        raise DataError("expected at least one datum to compress, got none")
    method, coder = codec(model, space)
    levels = grey_levels(space, x)
    with eval_mode(model):
        words = coder.encode(levels)
    header = {
        "format": FORMAT,
        "method": method,
        "n": len(x),
        "shape": list(x.shape[1:]),
        "model": _digest_of_model(model),
        "data": None if method == "lossy" else _digest(levels),
        **_machine(),
    }
    line = json.dumps(json.loads(seal_json(header))).encode()
    return line + b"\n" + words.astype("<u4").tobytes()


@torch.no_grad()
def decompress(model: Any, space: Space, compressed: bytes) -> Tensor:
    """The grey levels of compressed data, ``uint8 (n, *shape)``; binary data are 0 and 1.

    Args:
        model: the model that they were compressed by.
        space: of its data.
        compressed: what ``compress`` returned.

    Raises:
        RunError: if the header is damaged or of a newer format, the model is another, or what was decoded is not what
            was coded.
    """
    line, _, body = compressed.partition(b"\n")
    header = unseal_json(line)
    if header is None or len(body) % 4:
        raise RunError("not a compressed file, or a damaged one: its header has another checksum")
    if header["format"] > FORMAT:
        raise RunError(f"the compressed file has format {header['format']}; this pyrogen reads up to {FORMAT}")
    if header["model"] != _digest_of_model(model):
        raise RunError("the file was compressed by a model with other weights")
    _, coder = codec(model, space)
    threads = torch.get_num_threads()
    torch.set_num_threads(header["threads"])
    try:
        with eval_mode(model):
            levels = coder.decode(np.frombuffer(body, "<u4").astype(np.uint32), header["n"])
    finally:
        torch.set_num_threads(threads)
    if header["data"] not in (None, _digest(levels)):
        other = [f"{name} {header[name]}" for name, value in _machine().items() if header[name] != value]
        where = f"; it was made with {', '.join(other)}" if other else ""
        raise RunError(
            f"decoding gave other data than were coded{where}: the file is damaged, or arithmetic differs here"
        )
    return levels.to(torch.uint8).view(header["n"], *header["shape"])


def bits_per_dim(compressed: bytes, dims: int, n: int) -> float:
    """The size of compressed data in bits per value, the header included."""
    return 8 * len(compressed) / (dims * n)


def grey_levels(space: Space, x: Tensor) -> Tensor:
    """The grey levels of data in model coordinates, ``long``; 0 and 1 of binary data."""
    most = 1 if space.support == "binary" else space.levels - 1
    return (space.to_user(x) * most).round().long().cpu()


def _digest(levels: Tensor) -> str:
    return hashlib.sha256(levels.to(torch.int32).numpy().astype("<i4").tobytes()).hexdigest()


def _digest_of_model(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _machine() -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
