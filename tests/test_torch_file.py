"""Files of ``torch.save`` are read as data: what torch reads is the same, and no file makes the reader do more."""

import io
import os
import pickle
import random
import struct
import time
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from pyrogen import torch_file
from pyrogen.errors import DataError
from pyrogen.torch_file import read_torch_file

DTYPES = "float64 float32 float16 bfloat16 complex128 complex64 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool"
DATA = {
    **{name: torch.arange(5).to(getattr(torch, name)) for name in DTYPES.split()},
    "view": torch.arange(12.0).view(3, 4).T[1:],
    "empty": torch.empty(0, 3),
    "scalar": torch.tensor(1.5),
    "parameter": nn.Parameter(torch.ones(2)),
    "shared": [torch.arange(3.0)] * 2,
    "network": nn.BatchNorm1d(2).state_dict(),
    "optimizer": torch.optim.Adam([nn.Parameter(torch.ones(1))]).state_dict(),
    "plain": [None, True, False, 0, -1, 300, 70_000, 2**40, -(2**70), 1.5, float("inf"), "text é", b"bytes"],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "others": [Counter("aab"), OrderedDict(b=1, a=2), {1, "a"}, torch.Size([2, 3]), torch.float16, torch.device("cpu")],
    1: {None: "keys"},
}
FORMS = [{}, {"pickle_protocol": 4}, {"pickle_protocol": 5}, {"_use_new_zipfile_serialization": False}]


def assert_same(one, two):
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.stride()) == (two.dtype, two.stride())
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert (type(one), list(one)) == (type(two), list(two))
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert (type(one), len(one)) == (type(two), len(two))
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    else:
        assert (type(one), one) == (type(two), two)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_reader_and_torch_agree(tmp_path, form):
    torch.save(DATA, tmp_path / "a.pt", **form)
    found = read_torch_file(tmp_path / "a.pt")
    torch.save(DATA, tmp_path / "plain.pt")  # torch itself does not read all of these in each form
    assert_same(torch.load(tmp_path / "plain.pt", weights_only=True), found)
    assert found["shared"][0].data_ptr() == found["shared"][1].data_ptr()


def archive(path, program, storages=(), compress=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr("a/data.pkl", program)
        for key, content in enumerate(storages):
            file.writestr(f"a/data/{key}", content)
    return path


def tensor_program(numel=4, size="(K\x04t", stride="(K\x01t", offset=0, storage="FloatStorage", tail=""):
    """The pickle of one tensor, as torch writes it."""
    text = "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage"
    text += f"ctorch\n{storage}\nX\x01\0\0\x000X\x03\0\0\0cpu"
    return (
        text.encode("latin1")
        + number(numel)
        + b"tQJ"
        + struct.pack("<i", offset)
        + (f"{size}{stride}\x89ccollections\nOrderedDict\n)R{tail}tR.").encode("latin1")
    )


def number(n):
    return b"\x8a\x08" + struct.pack("<q", n)


def big(n):
    """A shape of one size."""
    return "(" + number(n).decode("latin1") + "t"


def nested(depth):
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def doubled(depth):
    """Lists that hold the one before twice."""
    return b"\x80\x02]q\0" + b"".join(b"](h\0h\0eq\0" for _ in range(depth)) + b"."


FOUR = [struct.pack("<4f", 1, 2, 3, 4)]
HOSTILE = {
    "a shape of 10^12 values": (tensor_program(size=big(10**12)), FOUR, "does not lie within its 4 values"),
    "a shape of 10^12 values at one address": (
        tensor_program(size=big(10**12), stride="(K\0t"),
        FOUR,
        "does not lie within its 4 values",
    ),
    "a stride beyond the storage": (tensor_program(stride="(K\x02t"), FOUR, "does not lie within its 4 values"),
    "an offset beyond the storage": (tensor_program(offset=1), FOUR, "does not lie within its 4 values"),
    "a negative offset": (tensor_program(offset=-1), FOUR, "the shape of a tensor is not one"),
    "a negative stride": (tensor_program(stride=big(-1)), FOUR, "the shape of a tensor is not one"),
    "fewer strides than sizes": (tensor_program(stride="(t"), FOUR, "damaged"),
    "a storage of 10^12 values": (tensor_program(numel=10**12), FOUR, "larger than what the file holds"),
    "a negative storage": (tensor_program(numel=-4), FOUR, "larger than what the file holds"),
    "a storage larger than its file": (tensor_program(numel=8), FOUR, "damaged"),
    "a storage smaller than its file": (tensor_program(numel=2, size="(K\x02t"), FOUR, "of more than 8 bytes"),
    "no storage": (tensor_program(), [], "damaged"),
    "a quantised storage": (tensor_program(storage="QInt8Storage"), FOUR, "object of 'torch.QInt8Storage'"),
    "a lazy conjugate": (tensor_program(tail="}X\x04\0\0\0conj\x88s"), FOUR, "resolve_conj"),
    "a call": (pickle.dumps(os.system), (), "an object of 'posix.system', and objects can execute code"),
    "a call of protocol 2": (pickle.dumps(os.system, 2), (), "an object of 'posix.system'"),
    "a class": (b"\x80\x02c__main__\nA\n)\x81.", (), "an object of '__main__.A'"),
    "an old instance": (b"(i__main__\nA\n.", (), "the operation INST"),
    "a name with escapes": (b"c\x1b[31mx\ny\n.", (), r"an object of '\\x1b\[31mx.y'"),
    "an extension": (b"\x80\x02\x82\x01.", (), "the operation EXT1"),
    "attributes of a dict": (b"\x80\x02}}b.", (), "attributes of a dict"),
    "attributes of a tensor": (tensor_program()[:-1] + b"}b.", FOUR, "attributes of a Tensor"),
    "a call of a number": (b"\x80\x02K\x01)R.", (), "damaged"),
    "a call of a dtype": (b"\x80\x02ctorch\nfloat32\n)R.", (), "damaged"),
    "a function alone": (b"\x80\x02ccollections\nOrderedDict\n.", (), "a storage or a function outside a tensor"),
    "a module": (b"\x80\x02(X\x06\0\0\0moduletQ.", (), "damaged"),
    "a list as a key": (b"\x80\x02}]K\x01s.", (), "a key is a list"),
    "tuples in tuples as a key": (b"\x80\x02})" + b"\x85" * 10**5 + b"K\x01s.", (), "a key is a tuple"),
    "items for a number": (b"\x80\x02K\x01K\x01a.", (), "items are added to a int"),
    "deep nesting": (nested(10**5), (), "nested more than 100 deep"),
    "a list that holds itself": (b"\x80\x02]q\0h\0a.", (), "nested more than 100 deep"),
    "lists that double": (doubled(60), (), "more than 500,000 values"),
    "too many operations": (b"\x80\x02(" + b"N" * 10**6 + b"t.", (), "more than 1,000,000 operations"),
    "too long a pickle": (b"\x80\x02" + b"N" * (9 << 20), (), "of more than 8,388,608 bytes"),
    "a text of 4 GiB": (b"\x80\x02X\xff\xff\xff\xff.", (), "damaged"),
    "a number of 2 GiB": (b"\x80\x02\x8b\xff\xff\xff\x7f.", (), "damaged"),
    "an empty stack": (b"\x80\x02.", (), "damaged"),
    "an unknown memo": (b"\x80\x02h\x07.", (), "damaged"),
    "no end": (b"\x80\x02N", (), "damaged"),
    "no pickle": (b"\xff", (), "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_at_once_in_one_sentence(tmp_path, name):
    program, storages, reason = HOSTILE[name]
    path = archive(tmp_path / "a.pt", program, storages)
    began = time.process_time()
    with pytest.raises(DataError, match=reason) as refused:
        read_torch_file(path)
    assert time.process_time() - began < 10
    message = str(refused.value)
    assert message.startswith(f"{path}: expected tensors saved by torch.save")
    assert message.isprintable()


def test_a_tensor_of_the_hostile_kind_is_read_when_nothing_is_wrong(tmp_path):
    found = read_torch_file(archive(tmp_path / "a.pt", tensor_program(), FOUR))
    assert torch.equal(found, torch.tensor([1.0, 2, 3, 4]))


def test_a_zip_bomb_a_fifo_a_folder_and_other_files_are_refused(tmp_path):
    bomb = archive(tmp_path / "bomb.pt", tensor_program(numel=10**8), [bytes(4 * 10**8)], zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10**6
    os.mkfifo(tmp_path / "fifo.pt")
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "text.pt").write_text("text")
    (tmp_path / "empty.pt").write_bytes(b"")
    np.savez(tmp_path / "numpy.pt.npz", a=np.ones(2))
    for name, reason in {
        "bomb.pt": "is compressed",
        "fifo.pt": "not a regular file",
        "folder.pt": "not a regular file",
        "text.pt": "neither a zip archive nor the older",
        "empty.pt": "neither a zip archive nor the older",
        "numpy.pt.npz": "damaged",
        "none.pt": "No such file",
    }.items():
        with pytest.raises(DataError, match=reason):
            read_torch_file(tmp_path / name)


def test_what_all_storages_claim_together_is_bounded_by_the_file(tmp_path):
    """Entries that overlap in the archive are one way to make much out of little."""
    storages = torch_file._Storages(100, lambda key, content: None)
    kind = torch_file._StorageType(torch.float32)
    storages("storage", kind, "0", "cpu", 15)
    with pytest.raises(torch_file._RefusedError, match="larger than what the file holds"):
        storages("storage", kind, "1", "cpu", 15)
    with pytest.raises(torch_file._RefusedError, match="two sizes"):
        storages("storage", kind, "0", "cpu", 14)


@pytest.mark.parametrize("form", FORMS[::3], ids=str)
def test_flips_and_truncations_give_data_or_one_sentence(tmp_path, form):
    stream = io.BytesIO()
    torch.save({"x": torch.arange(6.0), "n": [1, (2.5, "a")], "o": OrderedDict(a=True)}, stream, **form)
    whole, draws = stream.getvalue(), random.Random(0)
    path = tmp_path / "a.pt"
    refused = []
    for _ in range(600):
        content = bytearray(whole)
        content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
        path.write_bytes(content if draws.random() < 0.7 else whole[: draws.randrange(len(whole))])
        try:
            read_torch_file(path)
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 200
    assert all(map(str.isprintable, refused))
