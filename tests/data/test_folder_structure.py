"""The structure of folders and zip files of images: classes, splits, labels in a file, sizes."""

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pyrogen
from pyrogen.data import Dataset, ReadOptions, from_folder, memmap
from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.sources.folders import from_zip
from pyrogen.data.sources.image_files import bit_depth
from pyrogen.data.sources.stores import ZipStore
from pyrogen.errors import DataError, DataWarning


def save(folder: Path, names: list[str], size: tuple[int, int] = (6, 4)) -> Path:
    """Save grey images; the first pixel of the i-th one is i."""
    for i, name in enumerate(names):
        pixels = np.full(size[::-1], 100, np.uint8)
        pixels[0, 0] = i
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return folder


def zipped(folder: Path, prefix: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + str(file.relative_to(folder)))
    return path


def marks(data: Dataset) -> Iterator[list[int]]:
    """The numbers of the images in each part of the split."""
    for split in (data.train, data.valid, data.test):
        yield ((split.x[:][:, 0, 0, 0] if split.noise else (split.x[:, 0, 0, 0] * 256).floor()).int()).tolist()


PARTS = ("train", "valid", "test")
SPLIT = [f"{part}/{c}/{i}.png" for part, n in zip(PARTS, (5, 2, 3), strict=True) for c in ("2", "11") for i in range(n)]


@pytest.mark.parametrize("valid", ["valid", "val", "Validation"])
def test_folders_of_the_split_are_the_split(tmp_path: Path, valid: str) -> None:
    data = pyrogen.load(save(tmp_path, [name.replace("valid", valid) for name in SPLIT]))
    train, held_out, test = marks(data)
    assert sorted(train) == list(range(10))
    assert sorted(held_out) == list(range(10, 14))
    assert sorted(test) == list(range(14, 20))
    assert data.classes == ("2", "11")
    for split, numbers in ((data.train, train), (data.valid, held_out), (data.test, test)):
        eleven = [number in (*range(5, 10), 12, 13, *range(17, 20)) for number in numbers]
        assert split.y is not None
        assert split.y.tolist() == [int(e) for e in eleven]


@pytest.mark.parametrize("absent", [("valid",), ("test",), ("valid", "test")])
def test_absent_parts_are_taken_from_training(tmp_path: Path, absent: tuple[str, ...]) -> None:
    names = [f"train/{i:02d}.png" for i in range(20)] + [f"{p}/{i}.png" for p in PARTS[1:] for i in range(3)]
    folder = save(tmp_path, [name for name in names if name.split("/")[0] not in absent])
    parts = dict(zip(PARTS, marks(pyrogen.load(folder)), strict=True))
    assert [len(parts[p]) for p in PARTS] == [20 - 2 * len(absent), *(2 if p in absent else 3 for p in PARTS[1:])]
    assert sorted(number for p in ("train", *absent) for number in parts[p]) == list(range(20))
    assert parts != dict(zip(PARTS, marks(pyrogen.load(folder, seed=1)), strict=True))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert pyrogen.load(save(tmp_path, [f"{c}/{i}.png" for c in ("bus", "train") for i in range(3)])).classes == (
        "bus",
        "train",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*SPLIT, "more/a.png"], "expected only train, valid and test, got more beside them"),
        ([*SPLIT, "a.png"], "expected only train, valid and test, got a.png beside them"),
        ([*SPLIT, "val/2/a.png"], "expected one folder of each part, got test, train, val, valid"),
        ([*SPLIT, "test/3/a.png"], r"test: expected the classes of train \(2, 11\), got '3'"),
        (["train/2/a.png", "test/a.png"], "test: expected class folders, as in train; got images without class"),
        (["train/a.png", "test/2/a.png"], "test: expected images without class folders, as in train; got class"),
        (["test/a.png", "val/a.png"], "expected a folder train beside test, found none"),
    ],
)
def test_half_a_split_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        pyrogen.load(save(tmp_path, names))


@pytest.mark.parametrize("prefix", ["", "photos/"])
@pytest.mark.parametrize(
    "names", [SPLIT, [f"{c}/{i}.png" for c in (2, 11) for i in range(5)], ["a.png", "b.png", "c.png"]]
)
def test_a_zip_file_is_read_as_its_folder(tmp_path: Path, prefix: str, names: list[str]) -> None:
    folder = save(tmp_path / "p", names)
    one, other = pyrogen.load(folder), pyrogen.load(zipped(folder, prefix))
    assert (one.classes, one.shape, one.space) == (other.classes, other.shape, other.space)
    for part in PARTS:
        for ours, theirs in zip(getattr(one, part).tensors(), getattr(other, part).tensors(), strict=True):
            assert torch.equal(ours, theirs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "p.zip"]


def test_a_zip_file_on_disk_is_read_in_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = zipped(save(tmp_path / "p", SPLIT))
    memory = pyrogen.load(file)
    monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
    disk = pyrogen.load(file)
    assert isinstance(disk.train.x, MemoryMapped)
    for workers in (0, 2):
        source = pyrogen.data.batches(disk.train, 4, workers=workers)
        for ours, theirs in zip([next(source) for _ in range(5)], pyrogen.data.batches(memory.train, 4), strict=False):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    store = pickle.loads(pickle.dumps(ZipStore(file)))
    assert len(store.scan().images) == 20


@pytest.mark.parametrize("name", ["/etc/a.png", "a/../../b.png", "..\\a.png", "C:/a.png"])
def test_names_outside_a_zip_file_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("ok.png", b"")
        archive.writestr(name, b"")
    with pytest.raises(DataError, match=r"a\.zip: expected names inside the zip file, got"):
        from_zip(tmp_path / "a.zip")


def test_a_damaged_zip_file_names_the_image(tmp_path: Path) -> None:
    file = zipped(save(tmp_path / "p", ["a.png", "b.png"]))
    whole = bytearray(file.read_bytes())
    whole[60:70] = b"0123456789"
    file.write_bytes(whole)
    with pytest.raises(DataError, match=r"p\.zip/a\.png cannot be read as an image"):
        from_zip(file)


FLAT = [f"{i}.png" for i in range(12)]


@pytest.mark.parametrize(
    "table",
    [
        "file,label\n" + "".join(f"{i}.png,{i % 3 + 9}\n" for i in range(12)),
        "\ufeffid;year;class\r\n" + "".join(f"{i};1990;{i % 3 + 9}\r\n" for i in reversed(range(12))),
        "label\tfilename\n" + "".join(f"{i % 3 + 9}\t{i}.png\n" for i in range(12)),
    ],
    ids=["comma", "semicolon", "tab"],
)
@pytest.mark.parametrize("is_zip", [False, True])
def test_labels_in_a_file(tmp_path: Path, table: str, is_zip: bool) -> None:
    folder = save(tmp_path / "p", FLAT)
    (folder / "labels.csv").write_text(table, encoding="utf-8", newline="")
    raw = from_zip(zipped(folder)) if is_zip else from_folder(folder)
    assert raw.classes == ("9", "10", "11")
    assert raw.y is not None
    assert raw.y.tolist() == [int(mark) % 3 for mark in raw.x[:, 0, 0, 0]]  # type: ignore[union-attr]


def test_labels_of_the_parts_of_a_split(tmp_path: Path) -> None:
    folder = save(tmp_path, [f"{part}/{i}.png" for part in PARTS for i in range(4)])
    for part in PARTS:
        (folder / part / "labels.csv").write_text(
            "file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(4))
        )
    raw = from_folder(folder)
    assert raw.parts == (4, 4, 4)
    assert raw.y is not None
    assert raw.y.tolist() == [0, 1] * 6


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "labels.csv: expected a header such as file,label, got an empty file"),
        ("file,label\n0.png\n", "labels.csv: row 1: expected 2 columns, got 1"),
        ("file,label\n0.png,\n", "labels.csv: row 1: expected a label of 0.png, got none"),
        ("file,label\n0.png,1\n0.png,2\n", "labels.csv: row 2: 0.png has a label in an earlier row"),
        ("file,label\n../0.png,1\n", "labels.csv: row 1: expected an image of this folder, got '../0.png'"),
    ],
)
def test_faults_of_a_file_of_labels(tmp_path: Path, table: str, message: str) -> None:
    save(tmp_path, FLAT)
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        from_folder(tmp_path)


def test_class_folders_take_the_place_of_a_file_of_labels(tmp_path: Path) -> None:
    save(tmp_path, ["cat/a.png", "dog/a.png"])
    (tmp_path / "labels.csv").write_text("file,label\n")
    with pytest.warns(DataWarning, match=r"labels\.csv is not read, because the class folders give the labels"):
        assert from_folder(tmp_path).classes == ("cat", "dog")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
@pytest.mark.parametrize("size", [3, 16])
def test_images_are_resized_and_cropped(
    tmp_path: Path, suffix: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.zeros((20, 40), np.uint8)
    wide[:, 10:30] = 200  # the square in the centre
    for i, pixels in enumerate((wide, wide.T, wide[:, 10:30])):
        Image.fromarray(pixels).save(tmp_path / f"{i}{suffix}")
    x = from_folder(tmp_path, ReadOptions(size=size)).x
    assert x.shape == (3, 1, size, size)
    third = slice(size // 3, 2 * size // 3)
    assert (x[:, 0, third, third].float() - 200).abs().max() < 8  # type: ignore[index]
    monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
    disk = from_folder(tmp_path, ReadOptions(size=size)).x
    assert isinstance(disk, MemoryMapped)
    assert torch.equal(disk[:], x)  # type: ignore[arg-type]


def test_resizing_keeps_the_depth_of_16_bits(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (9, 6)).astype(np.uint16)
    Image.fromarray(grey * 257).save(tmp_path / "a.png")
    assert from_folder(tmp_path, ReadOptions(size=3)).x.dtype == torch.uint8
    Image.fromarray(grey * 257 + 1).save(tmp_path / "a.png")
    x = from_folder(tmp_path, ReadOptions(size=3)).x
    assert (x.dtype, x.shape) == (torch.float32, (1, 1, 3, 3))  # type: ignore[union-attr]


def test_bit_depths() -> None:
    assert [bit_depth(peak) for peak in (1, 255, 256, 1023, 4095, 4096, 16383, 65535)] == [8, 8, 10, 10, 12, 14, 14, 16]
