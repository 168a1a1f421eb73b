"""Image folders on disk give the same batches as from memory."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pyrogen
from pyrogen.data import batches, from_folder, memmap
from pyrogen.data.dataset import Dataset
from pyrogen.data.memmap import MemoryMapped
from pyrogen.errors import DataError
from pyrogen.measure.evaluate import evaluate_run
from pyrogen.training import configure, train
from pyrogen.training.checkpoint import newest
from pyrogen.training.run import Run

COLOURS = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
GREYS = COLOURS[..., 0]
DEEP = np.random.default_rng(1).integers(0, 65536, (40, 6, 5), dtype=np.uint16)
PICTURES = {
    "colour": [Image.fromarray(a) for a in COLOURS],
    "grey": [Image.fromarray(a) for a in GREYS],
    "one in colour": [Image.fromarray(a) for a in [*GREYS[:39], COLOURS[39]]],
    "palettes": [Image.fromarray(a).quantize(9) for a in COLOURS],
    "grey palettes": [Image.fromarray(a).convert("RGB").quantize(9) for a in GREYS],
    "16 bits": [Image.fromarray(a) for a in DEEP],
    "16 bits beside 8": [Image.fromarray(a) for a in [*COLOURS[:39], DEEP[39]]],
    "8 bits as 16": [Image.fromarray(a.astype(np.uint16) * 257) for a in GREYS],
    "clear": [Image.fromarray(np.concatenate([a, a[..., :1]], axis=2)) for a in COLOURS],
}


def save(folder: Path, pictures: list[Image.Image], classes: tuple[str, ...] = ("",)) -> str:
    for i, picture in enumerate(pictures):
        inside = folder / classes[i % len(classes)]
        inside.mkdir(parents=True, exist_ok=True)
        picture.save(inside / f"{i:02d}.png")
    return str(folder)


@pytest.fixture
def on_disk(monkeypatch):
    """Load a folder that stays on disk."""

    def load(folder: str) -> Dataset:
        with monkeypatch.context() as small:
            small.setattr(memmap, "DISK_THRESHOLD", 0)
            return pyrogen.load(folder)

    return load


def first(data: Dataset, n: int = 30, **options) -> list[tuple[torch.Tensor, ...]]:
    """Return batches of 6 of the 32 training rows, several epochs of 5."""
    return [batch for _, batch in zip(range(n), batches(data.train, 6, **options), strict=False)]


def assert_equal(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", PICTURES)
def test_data_from_disk_equal_data_from_memory(on_disk, tmp_path, kind):
    folder = save(tmp_path, PICTURES[kind], ("cat", "dog", "owl"))
    disk, memory = on_disk(folder), pyrogen.load(folder)
    assert isinstance(disk.train.x, MemoryMapped)
    assert isinstance(memory.train.x, torch.Tensor)
    assert (disk.shape, disk.space, disk.classes) == (memory.shape, memory.space, memory.classes)
    for split in ("train", "valid", "test"):
        assert_equal([getattr(disk, split).tensors()], [getattr(memory, split).tensors()])
    assert_equal(first(disk, workers=0), first(memory))


@pytest.mark.parametrize("workers", [None, 0, 1, 2])
def test_batches_do_not_depend_on_workers(on_disk, tmp_path, workers):
    folder = save(tmp_path, PICTURES["colour"], ("cat", "dog"))
    disk, memory = on_disk(folder), pyrogen.load(folder)
    before = torch.get_rng_state()
    assert_equal(first(disk, seed=3, workers=workers), first(memory, seed=3))
    assert_equal(first(disk, 4, seed=3, start=13, workers=workers), first(memory, seed=3)[13:17])
    assert torch.equal(before, torch.get_rng_state())


def test_workers_prefetch_arrays(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", GREYS)
    memory = pyrogen.load(tmp_path / "a.npy")
    monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
    disk = pyrogen.load(tmp_path / "a.npy")
    assert isinstance(disk.train.x, MemoryMapped)
    assert_equal(first(disk, workers=2), first(memory))


def test_workers_end_with_the_iterator(on_disk, tmp_path):
    source = batches(on_disk(save(tmp_path, PICTURES["grey"])).train, 6, workers=2)
    next(source)
    assert len(active_children()) == 2
    del source
    assert active_children() == []


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["cut", "gone", "another size", "colour"])
def test_the_error_names_an_unreadable_file(on_disk, tmp_path, workers, damage):
    data = on_disk(save(tmp_path, PICTURES["grey"]))
    victim = tmp_path / os.fsdecode(data.train.x.array.files[data.train.x.rows[0]])
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-30])
    elif damage == "gone":
        victim.unlink()
    else:
        changed = Image.new("L", (7, 7)) if damage == "another size" else Image.new("RGB", (5, 6), "red")
        changed.save(victim)
    with pytest.raises(DataError, match=victim.name) as caught:
        first(data, workers=workers)
    assert "\n" not in str(caught.value)
    assert active_children() == []


def test_invalid_headers_are_rejected_at_construction(on_disk, tmp_path, monkeypatch):
    folder = save(tmp_path, PICTURES["grey"])
    (tmp_path / "39.png").write_bytes(b"this is text")
    with pytest.raises(DataError, match=r"39\.png: expected an image"):
        on_disk(folder)
    Image.new("L", (9, 9)).save(tmp_path / "39.png")
    with pytest.raises(DataError, match=r"00\.png is 5 x 6 and .*39\.png is 9 x 9"):
        on_disk(folder)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match=r"39\.png.*81 pixels"):
        on_disk(folder)


def test_photographs_are_turned_upright(on_disk, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for i, grey in enumerate(GREYS):
        Image.fromarray(grey).save(tmp_path / f"{i}.{'png' if i % 2 else 'jpg'}", exif=exif)
    data = on_disk(str(tmp_path))
    assert data.shape == (1, 5, 6)
    assert_equal(first(data), first(pyrogen.load(tmp_path)))


def test_only_headers_are_read(tmp_path, monkeypatch):
    """Files truncated after their header can be loaded, as long as none of their rows is held out."""
    save(tmp_path, PICTURES["grey"])
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:60])
    monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
    assert from_folder(tmp_path).x.shape == (40, 1, 6, 5)


def test_few_large_images_are_in_memory(on_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(memmap, "_SAMPLE_BYTES", 4 * 30 * 3)
    data = on_disk(save(tmp_path, PICTURES["grey"]))
    assert (len(data.train), len(data.valid), len(data.test)) == (34, 3, 3)
    assert len(data.train.tensors()[0]) == 3


def config(folder: str, steps: int) -> dict:
    return configure("vae", folder, options={"steps": steps, "batch_size": 8, "hidden": (8,), "latent": 2})


def test_a_model_trains_and_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
    result = train(Run.create(tmp_path / "run", config(save(tmp_path / "images", PICTURES["colour"]), 9)))
    assert evaluate_run(pyrogen.open(result.run.path), k=2)["n"] == 4
    assert active_children() == []


STREAMED = """
import sys
from pyrogen.data import memmap
memmap.DISK_THRESHOLD = 0
from pyrogen.cli import main
sys.exit(main())
"""


def resumed(run):
    """A process that trains with a worker, in a group of its own; not as under ``nohup``."""
    command = [sys.executable, "-W", "error", "-c", STREAMED, "resume", str(run.path)]
    with default_hangup():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not run.metrics():
        time.sleep(0.02)
        assert process.poll() is None, process.stderr.read()
    return process


@contextmanager
def default_hangup():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_all_processes_ends_a_run_with_workers_cleanly(tmp_path, signum, status):
    run = Run.create(tmp_path / "run", config(save(tmp_path / "images", PICTURES["colour"]), 100_000))
    process = resumed(run)
    os.kill(process.pid, signal.SIGSTOP)  # so that the worker is the first to be told
    os.killpg(process.pid, signum)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGCONT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in error
    assert newest(run.path)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_killed_run_leaves_no_workers_no_lock_and_no_shared_memory(tmp_path):
    run = Run.create(tmp_path / "run", config(save(tmp_path / "images", PICTURES["colour"]), 100_000))
    process = resumed(run)
    (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    with run.lock():  # a worker that still lives does not hold it
        pass
    deadline = time.monotonic() + 120
    with pytest.raises(ProcessLookupError):  # noqa: PT012
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    assert not list(Path("/dev/shm").glob(f"torch_{worker}_*"))
    process.stderr.close()


def test_a_program_that_keeps_its_batch_iterator_exits(tmp_path):
    folder = save(tmp_path, PICTURES["grey"])
    program = (
        "import pyrogen; from pyrogen.data import batches, memmap; memmap.DISK_THRESHOLD = 0\n"
        f"source = batches(pyrogen.load({json.dumps(folder)}).train, 6, workers=2); next(source)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
