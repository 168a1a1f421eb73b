"""Data in files of ``torch.save``, read without unpickling.

``torch.save`` writes a pickle, a program for a small stack machine that can call any function, beside the bytes of its
tensors. Here that program is disassembled by ``pickletools`` and interpreted by a machine of its own, which knows only
the operations and names that data need: tensors, numbers, texts, and lists, tuples, sets and dicts of them. Whatever
else a file names is refused by that name, and nothing is ever imported or called on its behalf.

Both forms are read: the zip archive of torch 1.6 and later, and the older one, which is several pickles in a row. Sizes
are compared with that of the file before memory is allocated.
"""

import io
import math
import pickletools
import sys
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from os import PathLike
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from pyrogen.errors import DataError, RunError
from pyrogen.files import open_regular

LARGEST_PICKLE, MOST_OPERATIONS = 8 << 20, 1_000_000
"""The most bytes and operations of a pickle; a tensor takes about 150 bytes and 30 operations, its values none."""
DEEPEST, MOST_VALUES = 100, 500_000
"""How deep containers are nested at most, and how many values they hold, those that occur twice counted twice."""
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the first pickle of the older form, a magic number


class _RefusedError(Exception):
    """Why a file is not read."""


class _StorageType(NamedTuple):
    """The class of a storage; one without a dtype holds bytes."""

    dtype: torch.dtype | None


class _Storage(NamedTuple):
    """The bytes that tensors are views of, and their dtype."""

    content: Tensor
    dtype: torch.dtype | None


class _Storages:
    """The storages of a file by key; all of them together are at most as large as the file."""

    def __init__(self, size: int, fill: Callable[[str, Tensor], None]) -> None:
        self.left, self.fill = size, fill
        self.content: dict[str, Tensor] = {}

    def __call__(self, kind: Any, storage: Any, key: Any, location: Any, numel: Any, view: Any = None) -> _Storage:
        """The storage that a persistent id names."""
        known = kind == "storage" and isinstance(storage, _StorageType) and type(key) is str and type(numel) is int
        if not known or view is not None:
            raise _RefusedError("a persistent object is no storage")
        size = numel * (storage.dtype.itemsize if storage.dtype else 1)
        if key not in self.content:
            if not 0 <= size <= self.left:
                raise _RefusedError(f"a storage of {size:,} bytes is larger than what the file holds")
            self.left -= size
            self.content[key] = torch.empty(size, dtype=torch.uint8)
            self.fill(key, self.content[key])
        if len(self.content[key]) != size:
            raise _RefusedError("a storage has two sizes")
        return _Storage(self.content[key], storage.dtype)


def read_torch_file(path: str | PathLike[str]) -> Any:
    """The data in a file of ``torch.save``; parameters are returned as tensors, all on the CPU.

    Raises:
        DataError: for a file that is something else, is damaged, holds anything but data, or declares more than it has.
    """
    where = f"{path}: expected tensors saved by torch.save"
    try:
        with open_regular(path) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            found = (_read_zip if file.read(4) == b"PK\3\4" else _read_legacy)(file, size)
        _check_extent(found)
        return found
    except (_RefusedError, RunError) as error:
        raise DataError(f"{where}: {error}") from error
    except Exception as error:  # a damaged pickle breaks in as many ways as there are operations
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where}; the file is damaged: {reason}") from error


def _read_zip(file: BinaryIO, size: int) -> Any:
    """The form since torch 1.6: an archive of a pickle and of a file for each storage."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        root = names[0].partition("/")[0]
        order = f"{root}/byteorder"
        if order in names and archive.read(_plain(archive, order, 16)) != sys.byteorder.encode():
            raise _RefusedError(f"its byte order is not {sys.byteorder}-endian")

        def fill(key: str, content: Tensor) -> None:
            with archive.open(_plain(archive, f"{root}/data/{key}", len(content))) as stream:
                _fill(stream, content)

        program = archive.read(_plain(archive, f"{root}/data.pkl", LARGEST_PICKLE))
        return _interpret(io.BytesIO(program), _Storages(size, fill))


def _plain(archive: zipfile.ZipFile, name: str, most: int) -> zipfile.ZipInfo:
    """An entry that is stored as it is, as torch does it, and so does not expand, of at most ``most`` bytes."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most:
        raise _RefusedError(f"{_shown(name)} is compressed, or of more than {most:,} bytes")
    return entry


def _read_legacy(file: BinaryIO, size: int) -> Any:
    """The older form: four pickles, then the keys of the storages, and the storages in that order."""
    file.seek(0)
    pickles = io.BytesIO(file.read(LARGEST_PICKLE))
    storages = _Storages(size, lambda key, content: None)  # filled below
    if pickles.read(len(_LEGACY)) != _LEGACY:
        raise _RefusedError("neither a zip archive nor the older form")
    _interpret(pickles, storages)  # a version that never changed
    if not _interpret(pickles, storages)["little_endian"]:
        raise _RefusedError("its byte order is not little-endian")
    found, keys = _interpret(pickles, storages), _interpret(pickles, storages)
    if sorted(keys) != sorted(storages.content):
        raise _RefusedError("its storages are not those of its tensors")
    file.seek(pickles.tell())
    for key in keys:
        file.read(8)  # the number of values, which the tensors have given
        _fill(file, storages.content[key])
    return found


def _fill(stream: Any, content: Tensor, piece: int = 1 << 24) -> None:
    """Read a storage in pieces, so that it is in memory once."""
    view = content.numpy().data
    for start in range(0, len(view), piece):
        part = view[start : start + piece]
        part[:] = stream.read(len(part))  # raises ValueError if there are fewer bytes


def _interpret(program: BinaryIO, storages: _Storages) -> Any:
    """Run one pickle with the operations that data need, up to its end."""
    stack: list[Any] = []
    marked: list[list[Any]] = []
    memo: dict[Any, Any] = {}
    for count, (code, argument, _) in enumerate(pickletools.genops(program)):
        name = code.name
        if count > MOST_OPERATIONS:
            raise _RefusedError(f"a pickle of more than {MOST_OPERATIONS:,} operations")
        if name in _PUSHED:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _MADE:
            stack.append(_MADE[name]())
        elif name == "MARK":
            marked.append(stack)
            stack = []
        elif name in ("TUPLE", "APPENDS", "SETITEMS", "ADDITEMS"):
            items, stack = stack, marked.pop()
            _add(stack, name, items)
        elif name in _ON_TOP:
            items = [stack.pop() for _ in range(_ON_TOP[name])][::-1]
            _add(stack, name, items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            called = argument or f"{stack.pop(-2)} {stack.pop()}"
            if called not in _NAMES:
                what = _shown(called.replace(" ", "."))
                raise _RefusedError(f"got an object of {what}, and objects can execute code")
            stack.append(_NAMES[called])
        elif name == "BINPERSID":
            stack.append(storages(*stack.pop()))
        elif name == "REDUCE":
            arguments, builder = stack.pop(), stack.pop()
            stack.append(builder(*arguments))  # only functions of _NAMES can be called
        elif name == "BUILD":  # the attributes of a dict, such as the versions of a network's modules
            stack.pop()
            if type(stack[-1]) is not OrderedDict:
                raise _RefusedError(f"attributes of a {type(stack[-1]).__name__}")
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise _RefusedError(f"the operation {name} of its pickle builds more than data")
    return stack.pop()


_PUSHED = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
"""The operations that push their argument."""
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip
"""What an operation without an argument pushes."""
_ON_TOP = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}
"""How many values on top of the stack an operation takes."""


def _add(stack: list[Any], name: str, items: list[Any]) -> None:
    """Push a tuple of ``items``, or add them to the list, dict or set on top of the stack."""
    if name.startswith("TUPLE"):
        stack.append(tuple(items))
    elif name.startswith("APPEND") and type(stack[-1]) is list:
        stack[-1].extend(items)
    elif name.startswith("SETITEM") and type(stack[-1]) in (dict, OrderedDict):
        stack[-1].update(zip(map(_key, items[::2]), items[1::2], strict=True))
    elif name == "ADDITEMS" and type(stack[-1]) is set:
        stack[-1].update(map(_key, items))
    else:
        raise _RefusedError(f"items are added to a {type(stack[-1]).__name__}")


def _key(value: Any) -> Any:
    """A key of a dict or an element of a set; a nested one could take the machine's stack when it is hashed."""
    if not isinstance(value, str | int | float | bytes | None):
        raise _RefusedError(f"a key is a {type(value).__name__}")
    return value


def _tensor(
    storage: _Storage, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    """``torch._utils._rebuild_tensor_v2``."""
    return _typed_tensor(storage, offset, size, stride, grad, hooks, storage.dtype, metadata)


def _typed_tensor(
    storage: _Storage, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> Tensor:
    """``torch._utils._rebuild_tensor_v3``: a view that lies within its storage, and has no more values than that."""
    if metadata or not isinstance(dtype, torch.dtype):
        raise _RefusedError("a tensor with the conjugate or negative bit: save x.resolve_conj().resolve_neg()")
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in (offset, *size, *stride)) or len(size) > 64:
        raise _RefusedError("the shape of a tensor is not one")
    available, elements = len(storage.content) // dtype.itemsize, math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if elements > available or (elements and last >= available):
        shape = _shown(tuple(size))
        raise _RefusedError(f"a tensor of shape {shape} does not lie within its {available:,} values: save x.clone()")
    content = storage.content[: available * dtype.itemsize].view(dtype)
    return content.as_strided(size, stride, offset) if elements else content.new_empty(size)


_NAMES: dict[str, Any] = {
    **{
        f"torch {name}": getattr(torch, name)
        for name in (
            "float64", "float32", "float16", "bfloat16", "complex128", "complex64", "bool",
            "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
        )
    },
    **{
        f"torch {name}Storage": _StorageType(getattr(torch, dtype))
        for name, dtype in (
            ("Double", "float64"), ("Float", "float32"), ("Half", "float16"), ("BFloat16", "bfloat16"),
            ("ComplexDouble", "complex128"), ("ComplexFloat", "complex64"), ("Long", "int64"), ("Int", "int32"),
            ("Short", "int16"), ("Char", "int8"), ("Byte", "uint8"), ("Bool", "bool"),
        )
    },
    "torch.storage UntypedStorage": _StorageType(None),
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_tensor_v3": _typed_tensor,
    "torch._utils _rebuild_parameter": lambda data, grad, hooks: data,
    "torch Size": torch.Size,
    "torch device": lambda kind, index=None: torch.device("cpu"),
    "collections OrderedDict": lambda: OrderedDict(),
    "collections Counter": lambda counts: Counter({_key(key): int(n) for key, n in counts.items()}),
    **dict.fromkeys(("__builtin__ set", "builtins set"), lambda items: set(map(_key, items))),
    "_codecs encode": lambda text, coding: text.encode("latin1"),
}  # fmt: skip
"""What a file may name, by module and attribute."""


def _check_extent(found: Any) -> None:
    """Refuse what is nested too deeply, or expands without end as a list that holds itself."""
    left, values = [(found, 0)], 0
    while left:
        value, depth = left.pop()
        values += 1
        if callable(value) or isinstance(value, _StorageType | _Storage):
            raise _RefusedError("a storage or a function outside a tensor")
        if depth > DEEPEST or values > MOST_VALUES:
            raise _RefusedError(f"more than {MOST_VALUES:,} values, or nested more than {DEEPEST} deep")
        if isinstance(value, dict | list | tuple):
            left.extend((part, depth + 1) for part in (value.values() if isinstance(value, dict) else value))


def _shown(value: Any) -> str:
    """A value of the file for a message: short, and nothing that a terminal would obey."""
    return ascii(value)[:80]
