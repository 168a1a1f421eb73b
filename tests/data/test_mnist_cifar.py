"""MNIST and CIFAR-10 on disk: existing, damaged, missing and downloaded files."""

import gzip
import hashlib
import io
import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets
from torch import Tensor

from pyrogen.data import load
from pyrogen.data.mnist_cifar import read_cifar10, read_idx
from pyrogen.errors import DataError


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">u4").tobytes()
    return header + values.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root folder with fake Fashion-MNIST files: plain images, gzipped labels."""
    root = tmp_path_factory.mktemp("root")
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        number = np.arange(n)
        images = np.zeros((n, 28, 28), dtype=np.uint8)
        images[:, 0, 0], images[:, 0, 1] = number % 256, number // 256
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(number % 10), compresslevel=1))
    return root


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        print("Downloading")
        raise URLError("no network")

    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", refuse)


def test_existing_files_are_read_and_the_root_is_not_written(fashion: Path, no_download: None) -> None:
    before = sorted(fashion.rglob("*"))
    data = load("fashion-mnist", root=fashion)
    assert sorted(fashion.rglob("*")) == before
    assert data.shape == (1, 28, 28)
    assert (len(data.train), len(data.valid), len(data.test)) == (50_000, 10_000, 10_000)
    assert data.classes[9] == "ankle boot"

    def number(x: Tensor) -> Tensor:
        return x[:, 0, 0, 0].long() + 256 * x[:, 0, 0, 1].long()

    assert torch.equal(number(data.train.x), torch.arange(50_000))
    assert torch.equal(number(255 * data.space.to_user(data.valid.x) + 0.5), torch.arange(50_000, 60_000))
    test = number(255 * data.space.to_user(data.test.x) + 0.5)
    assert torch.equal(test.sort().values, torch.arange(10_000))
    assert not torch.equal(test, torch.arange(10_000))
    for split, start in ((data.train, 0), (data.valid, 50_000)):
        assert torch.equal(split.y, torch.arange(start, start + len(split)) % 10)
    assert torch.equal(data.test.y, test % 10)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "header"),
        (b"<html>not found</html>", "header 3c 68"),
        (idx(np.zeros(10)), "(10000,)"),
        (idx(np.zeros(10_000))[:-1], "expected 10000 values, got 9999"),
        (idx(np.zeros(10_000)) + b"x", "expected 10000 values, got more"),
        (idx(np.full(10_000, 10)), "expected labels from 0 to 9, got 10"),
    ],
)
def test_damaged_idx_files(content: bytes, named: str, tmp_path: Path, fashion: Path, no_download: None) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (fashion / "FashionMNIST" / "raw").iterdir():
        (raw / file.name).symlink_to(file)
    labels = raw / "t10k-labels-idx1-ubyte"
    labels.write_bytes(content)  # the plain file goes before the gzipped one
    with pytest.raises(DataError) as caught:
        read_idx(tmp_path, "FashionMNIST")
    assert str(labels) in str(caught.value)
    assert named in str(caught.value)


WHOLE = gzip.compress(bytes(99), mtime=0)


@pytest.mark.parametrize("content", [b"", b"text", WHOLE[:-9], WHOLE[:-4] + b"oops", WHOLE[:10] + bytes(9)])
def test_damaged_gzip_files(content: bytes, tmp_path: Path, fashion: Path, no_download: None) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (fashion / "FashionMNIST" / "raw").iterdir():
        (raw / file.name).symlink_to(file)
    labels = raw / "train-labels-idx1-ubyte.gz"
    labels.unlink()
    labels.write_bytes(content)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz"):
        read_idx(tmp_path, "FashionMNIST")


def test_a_missing_data_set_without_network(
    tmp_path: Path, no_download: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, expected in (
        ("mnist", "MNIST/raw/{train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images"),
        ("fashion-mnist-logit", "FashionMNIST/raw/{train-images"),
        ("cifar10", "cifar-10-batches-py/{data_batch_1"),
    ):
        with pytest.raises(DataError) as caught:
            load(name, root=tmp_path)
        message = str(caught.value)
        assert f"not in {tmp_path}" in message
        assert "no network" in message
        assert expected in message
        assert "--data-root" in message
        assert "PYROGEN_DATA" in message
        assert "\n" not in message
    assert capsys.readouterr().out == ""


def test_a_root_that_cannot_be_written(tmp_path: Path, no_download: None) -> None:
    (tmp_path / "root").write_text("a file where a folder is needed")
    with pytest.raises(DataError, match=r"MNIST.*download failed \(.*root"):
        load("mnist", root=tmp_path / "root")


def test_missing_files_are_downloaded_once(tmp_path: Path, fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fetch(url: str, download_root: str, filename: str, md5: str) -> None:
        calls.append(filename)
        name = filename.removesuffix(".gz")
        source = fashion / "FashionMNIST" / "raw" / name
        content = source.read_bytes() if source.exists() else gzip.decompress(source.with_name(filename).read_bytes())
        (Path(download_root) / name).write_bytes(content)

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fetch)
    monkeypatch.setenv("PYROGEN_DATA", str(tmp_path / "new"))
    assert torch.equal(load("fashion-mnist").test.x, load("fashion-mnist", root=fashion).test.x)
    read_idx(tmp_path / "new", "FashionMNIST")
    assert len(calls) == 4


# CIFAR-10


class OldArray:
    """An array pickled as numpy did in 2009, about which numpy 2.4.0 to 2.4.4 warn."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __reduce__(self) -> tuple[object, ...]:
        return np.frombuffer, (self.values.tobytes(), OldType())


class OldType:
    """The dtype of such an array, whose flags are integers 0 and 1 instead of booleans."""

    def __reduce__(self) -> tuple[object, ...]:
        return np.dtype, ("u1", 0, 1)


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder with fake CIFAR-10 files of three images each, with torchvision's checksums replaced by theirs."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    kind = torchvision.datasets.CIFAR10

    def write(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    checksums = {}
    for i, (name, _) in enumerate(kind.train_list + kind.test_list):
        x = np.full((3, 3, 1024), 10 * i, dtype=np.uint8) + np.arange(3, dtype=np.uint8)[:, None]
        checksums[name] = write(name, {"data": OldArray(x.reshape(3, 3072)), "labels": [i, i, 9]})
    for attribute in ("train_list", "test_list"):
        files = [[name, checksums[name]] for name, _ in getattr(kind, attribute)]
        monkeypatch.setattr(kind, attribute, files)
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": write("batches.meta", {"label_names": []})})
    return tmp_path


def test_cifar10_is_read_from_disk(cifar10: Path, no_download: None) -> None:
    (x, y), (test_x, test_y) = read_cifar10(cifar10)
    assert x.shape == (15, 3, 32, 32)
    assert x.dtype == torch.uint8
    assert x[4, :, 7, 7].tolist() == [10, 11, 12]
    assert y.tolist() == [0, 0, 9, 1, 1, 9, 2, 2, 9, 3, 3, 9, 4, 4, 9]
    assert test_x[0, :, 0, 0].tolist() == [50, 51, 52]
    assert test_y.dtype == torch.int64
    assert x.is_contiguous()


def test_a_changed_file_of_cifar10_is_never_unpickled(cifar10: Path, no_download: None) -> None:
    (cifar10 / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"cos\nabort\n(tR.")
    with pytest.raises(DataError, match="cifar-10-batches-py is damaged"):
        read_cifar10(cifar10)


# Downloads, from a folder in place of a server


@pytest.fixture
def server(tmp_path: Path, fashion: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of Fashion-MNIST, from which torchvision downloads them with their checksums."""
    folder = tmp_path / "server"
    folder.mkdir()
    resources = []
    for name, _ in torchvision.datasets.FashionMNIST.resources:
        plain = fashion / "FashionMNIST" / "raw" / name.removesuffix(".gz")
        packed = gzip.compress(plain.read_bytes(), 1) if plain.exists() else plain.with_suffix(".gz").read_bytes()
        (folder / name).write_bytes(packed)
        resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["https://example.invalid/"])
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
    monkeypatch.setattr("urllib.request.urlopen", lambda request, *args, **more: Response(folder, request.full_url))
    return folder


class Response(io.BytesIO):
    """The answer of a server to a request for a file."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__((folder / url.rsplit("/")[-1]).read_bytes())
        self.url, self.length = url, len(self.getbuffer())


LABELS = "t10k-labels-idx1-ubyte.gz"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: packed[:-20],
        lambda packed: gzip.compress(gzip.decompress(packed)[:-1] + b"\x05"),
        lambda packed: b"<html>please log in</html>",
    ],
    ids=["truncated", "another checksum", "a page"],
)
def test_a_spoilt_download_leaves_nothing(tmp_path: Path, server: Path, spoil: Callable[[bytes], bytes]) -> None:
    whole = (server / LABELS).read_bytes()
    (server / LABELS).write_bytes(spoil(whole))
    with pytest.raises(DataError, match="the download failed"):
        read_idx(tmp_path / "root", "FashionMNIST")
    assert list((tmp_path / "root").iterdir()) == []
    (server / LABELS).write_bytes(whole)
    assert len(read_idx(tmp_path / "root", "FashionMNIST")[1][1]) == 10_000


def test_an_interrupted_download_is_begun_again(tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was killed: its folder has a name of its own, and the data are looked for in their place."""
    whole = torchvision.datasets.mnist.download_and_extract_archive

    def stop(url: str, download_root: str, filename: str, md5: str) -> None:
        if filename == LABELS:
            Path(download_root, filename.removesuffix(".gz")).write_bytes(b"half")
            raise KeyboardInterrupt
        whole(url, download_root=download_root, filename=filename, md5=md5)

    with monkeypatch.context() as context:
        context.setattr(torchvision.datasets.mnist, "download_and_extract_archive", stop)
        with pytest.raises(KeyboardInterrupt):
            read_idx(tmp_path / "root", "FashionMNIST")
    assert list((tmp_path / "root").iterdir()) == []
    left = tmp_path / "root" / ".FashionMNIST.x.part" / "FashionMNIST" / "raw"
    left.mkdir(parents=True)
    (left / LABELS).write_bytes(b"half")
    assert len(read_idx(tmp_path / "root", "FashionMNIST")[1][1]) == 10_000


def test_two_processes_download_at_once(tmp_path: Path, server: Path) -> None:
    context = multiprocessing.get_context("fork")  # with the replaced addresses and checksums
    workers = [context.Process(target=_load_and_exit, args=(tmp_path / "root",)) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        for worker in workers:
            worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert {path.name for path in (tmp_path / "root").iterdir()} == {"FashionMNIST"}
    raw = tmp_path / "root" / "FashionMNIST" / "raw"
    assert len(list(raw.iterdir())) == 4
    assert (raw / LABELS.removesuffix(".gz")).read_bytes() == gzip.decompress((server / LABELS).read_bytes())


def _load_and_exit(root: Path) -> None:
    os._exit(len(read_idx(root, "FashionMNIST")[1][1]) != 10_000)
