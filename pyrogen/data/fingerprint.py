"""Recognising data: a 64-bit key for every stored row, and the fingerprint of a data set.

    key(x) = mix(Σ_j mix(w_j + j g))  mod 2^64

with w_j the j-th 64-bit word of the row, g an odd constant and mix the finaliser of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014). Two different rows have one key with probability 2^-64.
Keys are those of stored rows, before noise: two dequantisations of one image have the same.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.memmap import MemoryMapped, NoRows

if TYPE_CHECKING:
    from pyrogen.data.dataset import Dataset

Keys = NDArray[np.uint64]
"""The keys of rows, ``(n,)``."""

_STRIDE = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_WORDS = 2**15  # words at a time, which stay in the cache


def row_keys(x: Tensor | MemoryMapped | NoRows) -> Keys:
    """The key of each row.

    Bytes (``uint8``) are taken as they are, other numbers by value whatever their dtype. Rows on disk are not read: a
    row of an array is its position, an image its name, each together with the shape, the first and the last row.

    Args:
        x: the stored rows, ``(n, *event)``.
    """
    if not isinstance(x, MemoryMapped):
        return _keys_of(x[:].detach().cpu())
    files: Any = getattr(x.array, "files", None)
    whole = np.arange(len(x.array))[:, None] if files is None else files.view(np.uint8).reshape(len(files), -1)
    ends = np.ascontiguousarray(x.array[np.array([0, len(x.array) - 1])])
    digest = hashlib.blake2b(
        repr((x.array.shape, str(x.array.dtype))).encode() + ends.tobytes(), digest_size=8
    ).digest()
    keys = _keys_of(torch.from_numpy(whole)[x.rows])
    return _mix(keys + np.frombuffer(digest, np.uint64))


def fingerprint(data: "Dataset", parts: Sequence[str] = ("train", "valid", "test")) -> str:
    """The fingerprint of a data set, equal for equal rows, labels and weights in an equal split.

    ``1437+180+180 rows of 1x8x8, 0d1c…``: the sizes, and 16 hexadecimal digits of the contents. Rows on disk are not
    read, except for the first and the last: ``, files 72b0…`` is of the names, sizes and times of their files, in a
    zip file of checksums in place of times.

    Args:
        data: the data set; its noise and the coordinates in which models see it do not count.
        parts: the splits that count.
    """
    splits = [getattr(data, part) for part in parts]
    digest = hashlib.blake2b(digest_size=8)
    for split in splits:
        digest.update(len(split).to_bytes(8))
        digest.update(split.row_keys.tobytes())
        if split.y is not None:
            digest.update(row_keys(split.y).tobytes())
        if split.weights is not None:
            digest.update(row_keys(split.weights).tobytes())
    sizes = "+".join(str(len(split)) for split in splits)
    words = [f"{sizes} rows of {'x'.join(map(str, data.shape))}", digest.hexdigest()]
    stored = next((split.x for split in splits if isinstance(split.x, MemoryMapped)), None)
    if stored is not None:
        words.append(f"files {hashlib.blake2b(repr(stored.stamps()).encode(), digest_size=8).hexdigest()}")
    return ", ".join(words)


def difference(then: str, now: str) -> str | None:
    """How data differ from earlier ones, by their fingerprints; ``None`` if they do not."""
    before, after = then.split(", "), now.split(", ")
    if len(before) == 1:  # version 0.1 wrote only the digits of the contents
        before = [after[0], then, *after[2:]]
    if before[0] != after[0]:
        return f"{before[0]} (training + validation + test) then, {after[0]} now"
    if before[1] != after[1]:
        return f"{after[0]} as then, but other contents"
    return None if before == after else f"{after[0]} as then, but other names, sizes or times of their files"


def _keys_of(x: Tensor) -> Keys:
    """The keys of rows in memory, a few at a time."""
    n = len(x)
    x = x.reshape(n, -1) if x.numel() else x.new_zeros(n, 1)
    rows = max(1, _WORDS // max(1, x.shape[1] // (8 if x.dtype == torch.uint8 else 1)))
    keys = np.empty(n, np.uint64)
    for i in range(0, n, rows):
        words = _words(x[i : i + rows])
        words += np.arange(words.shape[1], dtype=np.uint64) * _STRIDE
        keys[i : i + rows] = _mix(words).sum(1, dtype=np.uint64)
    return _mix(keys)


def _words(x: Tensor) -> Keys:
    """Rows ``(n, d)`` as 64-bit words: bytes eight at a time, other numbers as ``float64``."""
    if x.dtype == torch.uint8:
        width = -(-x.shape[1] // 8)
        padded = np.zeros((len(x), 8 * width), np.uint8)
        padded[:, : x.shape[1]] = x.numpy()
        return padded.view(np.uint64)
    x = torch.view_as_real(x.resolve_conj()).flatten(1) if x.is_complex() else x
    # Adding 0 makes a copy and gives -0.0 the word of 0.0.
    return (x.double() + 0.0).numpy().view(np.uint64)


def _mix(words: Keys) -> Keys:
    """The finaliser of SplitMix64, in place."""
    words ^= words >> _SHIFTS[0]
    words *= _FACTORS[0]
    words ^= words >> _SHIFTS[1]
    words *= _FACTORS[1]
    words ^= words >> _SHIFTS[2]
    return words
