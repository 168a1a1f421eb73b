"""Rows are recognised by their values, whatever holds them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import points
from PIL import Image

import pyrogen
from pyrogen.data import Split, memmap
from pyrogen.data.fingerprint import fingerprint, row_keys
from pyrogen.data.memmap import MemoryMapped


@pytest.mark.parametrize(
    "x",
    [points(300, 2), points(300, 1, 3, 3), points(300), (points(300, 5) * 40).byte(), (points(300, 13) * 1e4).long()],
    ids=["vectors", "images", "numbers", "bytes", "integers"],
)
def test_equal_rows_and_only_they_have_equal_keys(x):
    keys = row_keys(x)
    distinct = len(torch.unique(x, dim=0))
    assert (keys.shape, keys.dtype, len(np.unique(keys))) == ((300,), np.uint64, distinct)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(row_keys(x[order]), keys[order.numpy()])
    assert np.array_equal(row_keys(x[:7]), keys[:7])
    if x.dtype != torch.uint8:
        assert np.array_equal(row_keys(x.double()), keys)


def test_keys_tell_related_rows_apart():
    x = points(1000, 4) + 10
    others = [-x, x.flip(1), x.roll(1, 1), torch.cat([x, x[:, :1]], 1), x.clone().index_fill_(1, torch.tensor(3), 0.0)]
    others += [torch.nextafter(x, x + 1), x * torch.tensor([1.0, -1.0, -1.0, 1.0]), x.byte()]
    keys = np.concatenate([row_keys(other) for other in (x, *others)])
    assert len(np.unique(keys)) >= 8000 + len(torch.unique(x.byte(), dim=0))
    zeros = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])
    assert len(np.unique(row_keys(zeros))) == 2


def test_keys_of_large_rows_do_not_depend_on_the_chunk():
    x = torch.arange(3 * 40_001).view(3, -1) % 256
    assert len(np.unique(row_keys(x))) == 3
    assert np.array_equal(row_keys(x[1:]), row_keys(x)[1:])
    assert np.array_equal(row_keys(x.byte()[1:]), row_keys(x.byte())[1:])


def test_keys_are_those_of_rows_before_noise():
    data, other = pyrogen.load("digits"), pyrogen.load("digits-binary")
    assert np.array_equal(data.test.row_keys, other.test.row_keys)
    assert np.array_equal(data.train.freeze_noise(3).row_keys, data.train.row_keys)
    assert np.array_equal(data.test.to("cpu").row_keys, data.test.row_keys)
    assert not np.isin(data.test.row_keys, data.train.row_keys).any()
    part = replace(data.test, x=data.test.x[:9])  # other rows than those of the keys
    assert len(part.row_keys) == 9


def test_rows_on_disk_are_recognised_without_being_read(tmp_path, monkeypatch):
    array = np.random.default_rng(0).random((60, 1, 4, 4)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "b").mkdir()
    for i, pixels in enumerate((255 * array).astype(np.uint8)):
        Image.fromarray(pixels[0]).save(tmp_path / "b" / f"{i}.png")
    monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
    for name in ("a.npy", "b"):
        first, second = (pyrogen.load(tmp_path / name, seed=seed) for seed in (0, 1))
        assert isinstance(first.train.x, MemoryMapped)
        assert not isinstance(first.test.x, MemoryMapped)
        whole = np.concatenate([split.row_keys for split in (first.train, first.valid, first.test)])
        assert len(np.unique(whole)) == 60
        again = np.concatenate([split.row_keys for split in (second.train, second.valid, second.test)])
        assert set(whole.tolist()) == set(again.tolist())
        assert 0 < np.isin(second.test.row_keys, first.train.row_keys).sum() <= 6
    np.save(tmp_path / "c.npy", array[::-1])
    other = pyrogen.load(tmp_path / "c.npy")
    assert not np.isin(other.train.row_keys, pyrogen.load(tmp_path / "a.npy").train.row_keys).any()


def test_a_fingerprint_is_of_the_rows_their_labels_and_their_split():
    data = pyrogen.load("digits")
    same = fingerprint(data)
    assert re.fullmatch(r"1167\+180\+450 rows of 1x8x8, [0-9a-f]{16}", same)
    assert fingerprint(pyrogen.load("digits")) == fingerprint(pyrogen.load("digits-logit")) == same
    y = data.train.y.clone()
    y[3] += 1
    x = data.train.x.clone()
    x[7, 0, 3, 3] += 1
    changed = [replace(data, train=replace(data.train, **part)) for part in ({"y": y}, {"y": None}, {"x": x})]
    changed += [pyrogen.load("digits", seed=1), replace(data, train=Split(data.train.x[:-1], data.train.y[:-1]))]
    assert len({same, *map(fingerprint, changed)}) == 6
