"""Arrays on disk give the same batches as from memory."""

import numpy as np
import pytest
import torch

import pyrogen
from pyrogen.data import batches, memmap
from pyrogen.data.memmap import MemoryMapped
from pyrogen.errors import DataError
from pyrogen.measure.evaluate import evaluate_run
from pyrogen.training import configure, train
from pyrogen.training.run import Run


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """Save an array that ``load`` memory-maps."""

    def save(array):
        monkeypatch.setattr(memmap, "DISK_THRESHOLD", array.nbytes // 2)
        np.save(tmp_path / "large.npy", array)
        return tmp_path / "large.npy"

    return save


IMAGES = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
FLOATS = IMAGES[:, None].astype(np.float32) / 300
VECTORS = np.random.default_rng(1).standard_normal((300, 5)).astype(np.float32)


@pytest.mark.parametrize(
    "array", [IMAGES, VECTORS, IMAGES[:, None].astype(np.float32) / 300], ids=["uint8", "vectors", "floats"]
)
def test_data_from_disk_equal_data_from_memory(on_disk, monkeypatch, array):
    disk = pyrogen.load(on_disk(array))
    monkeypatch.undo()
    memory = pyrogen.load(disk.name)
    assert isinstance(disk.train.x, MemoryMapped)
    assert not isinstance(memory.train.x, MemoryMapped)
    assert (disk.shape, disk.space, len(disk.train)) == (memory.shape, memory.space, len(memory.train))
    for _, (ours,), (theirs,) in zip(range(20), batches(disk.train, 32), batches(memory.train, 32), strict=False):
        assert torch.equal(ours, theirs)
    assert torch.equal(disk.test.tensors()[0], memory.test.tensors()[0])
    assert torch.equal(disk.train.tensors()[0], memory.train.tensors()[0])


def test_statistics_use_a_sample(on_disk, monkeypatch):
    monkeypatch.setattr(memmap, "SAMPLE_ROWS", 50)
    assert pyrogen.load(on_disk(IMAGES)).train.tensors()[0].shape == (50, 1, 8, 8)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.5])
def test_invalid_values_are_found(on_disk, bad):
    array = FLOATS.copy()
    array[250, 0, 3, 3] = bad
    with pytest.raises(DataError, match="expected"):
        pyrogen.load(on_disk(array))


def test_a_damaged_file_is_rejected(on_disk):
    file = on_disk(IMAGES)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"large\.npy"):
        pyrogen.load(file)


def test_a_model_trains_and_is_evaluated(on_disk, tmp_path):
    options = {"steps": 5, "batch_size": 32, "hidden": (16,), "latent": 2}
    config = configure("vae", str(on_disk(IMAGES)), options=options)
    result = train(Run.create(tmp_path / "run", config))
    assert evaluate_run(pyrogen.open(result.run.path), k=2)["n"] == 30
