"""Folders of shards give the batches of one array, and read no more than they need."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import pyrogen
from pyrogen.data import batches, memmap
from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.sources.shards import Shards
from pyrogen.errors import DataError

VECTORS = np.random.default_rng(0).normal(3, 2, (300, 4)).astype(np.float32)
IMAGES = np.random.default_rng(1).integers(0, 256, (60, 8, 8), dtype=np.uint8)
CUTS = (20, 25, 180)


def whole(tmp_path, monkeypatch, array):
    """The same rows as one array on disk."""
    monkeypatch.setattr(memmap, "DISK_THRESHOLD", 1)
    np.save(tmp_path / "whole.npy", array)
    return pyrogen.load(tmp_path / "whole.npy")


def equal(ours, theirs):
    assert isinstance(ours.train.x, MemoryMapped)
    assert (len(ours.train), len(ours.test), ours.shape) == (len(theirs.train), len(theirs.test), theirs.shape)
    for _, (a,), (b,) in zip(range(20), batches(ours.train, 16), batches(theirs.train, 16), strict=False):
        assert torch.equal(a, b)
    assert torch.equal(ours.test.tensors()[0], theirs.test.tensors()[0])


def save_arrays(folder, array, cuts):
    folder.mkdir()
    for i, part in enumerate(np.split(array, cuts)):
        np.save(folder / f"part-{i}.npy", part)
    return folder


@pytest.mark.parametrize(("array", "cuts"), [(VECTORS, CUTS), (IMAGES, (10, 50))], ids=["vectors", "images"])
def test_arrays(tmp_path, monkeypatch, array, cuts):
    equal(pyrogen.load(save_arrays(tmp_path / "shards", array, cuts)), whole(tmp_path, monkeypatch, array))


def test_parquet_is_written_as_arrays_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "shards"
    folder.mkdir()
    for i, part in enumerate(np.split(VECTORS, CUTS)):
        pq.write_table(pa.table({f"c{j}": part[:, j] for j in range(4)}), folder / f"{i}.parquet")
    data = pyrogen.load(folder)
    assert [column.name for column in data.space.columns] == ["c0", "c1", "c2", "c3"]
    equal(data, whole(tmp_path, monkeypatch, VECTORS))
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert len(made) == 4
    pyrogen.load(folder)
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}


def write_tar(path, images, labels=None):
    with tarfile.open(path, "w") as archive:
        for i, image in enumerate(images):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            members = {f"{i:04d}.png": png.getvalue()}
            if labels is not None:
                members[f"{i:04d}.cls"] = str(labels[i]).encode()
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("on_disk", [False, True])
def test_tar_files_of_webdataset(tmp_path, monkeypatch, on_disk):
    if on_disk:
        monkeypatch.setattr(memmap, "DISK_THRESHOLD", 1)
    labels = np.arange(60) % 3
    folder = tmp_path / "shards"
    folder.mkdir()
    for i in range(3):
        write_tar(folder / f"{i:03d}.tar", IMAGES[20 * i : 20 * i + 20], labels[20 * i : 20 * i + 20])
    data = pyrogen.load(folder)
    assert data.classes == ("0", "1", "2")
    assert isinstance(data.train.x, MemoryMapped) == on_disk
    known = {IMAGES[i].tobytes(): labels[i] for i in range(60)}
    x, y = data.train.x[:], data.train.y
    assert [known[row.numpy().tobytes()] for row in x] == y.tolist()
    assert pyrogen.load(folder / "000.tar").shape == (1, 8, 8)


def test_rows_come_from_the_files_that_they_are_in():
    parts = np.split(VECTORS, CUTS)
    shards = Shards(parts, [])
    index = np.array([299, 0, 20, 24, 24, 179, 180])
    assert np.array_equal(shards[index], VECTORS[index])
    assert np.array_equal(shards[15:190:7], VECTORS[15:190:7])
    assert shards.shape == VECTORS.shape


def test_what_does_not_fit_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = save_arrays(tmp_path / "shards", VECTORS, CUTS)
    np.save(folder / "part-9.npy", VECTORS[:, :3])
    with pytest.raises(DataError, match=r"part-9.npy: expected float32 rows of 4, as in part-0.npy; got .* of 3"):
        pyrogen.load(folder)
    np.save(folder / "part-9.npy", VECTORS.astype(np.float64))
    with pytest.raises(DataError, match=r"part-9\.npy: expected an array of float32 vectors"):
        pyrogen.load(folder)
    tables = tmp_path / "tables"
    tables.mkdir()
    pq.write_table(pa.table({"a": ["x", "y"]}), tables / "0.parquet")
    with pytest.raises(DataError, match="column 'a': shards of tables are of numbers"):
        pyrogen.load(tables)
    pq.write_table(pa.table({"a": 1.7e9 + np.arange(50.0)}), tables / "0.parquet")
    with pytest.raises(DataError, match="column 'a': its values differ by too little"):
        pyrogen.load(tables)
    cut = tmp_path / "cut.tar"
    write_tar(cut, IMAGES[:20])
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.tar"):
        pyrogen.load(cut)
    (tmp_path / "packed.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(DataError, match="a tar file that is not compressed"):
        pyrogen.load(tmp_path / "packed.tar")
