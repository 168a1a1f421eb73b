"""The run folder: made once, held by one process, and read back as it was written."""

import errno
import fcntl
import json
import math
import multiprocessing
import os
import re
import subprocess
import tomllib

import pytest

from pyrogen.errors import RunError, RunWarning, UserError
from pyrogen.training import configure
from pyrogen.training.run import Run, free_path

CONFIG = configure("vae", 'a "quoted" näme\n', seed=3, options={"hidden": (2, 3), "lr": 1e-3, "sigma": 0.5})


def test_config_is_toml_that_reads_back(tmp_path):
    run = Run.create(tmp_path / "deep" / "run", CONFIG)
    assert Run.open(run.path).config == CONFIG
    written = tomllib.loads((run.path / "config.toml").read_text())
    assert written["version"] == 2
    assert written["options"]["hidden"] == [2, 3]
    assert "data_root" not in written


def test_folder_in_use_is_not_overwritten(tmp_path):
    Run.create(tmp_path / "run", CONFIG)
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(tmp_path / "run", CONFIG)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    with pytest.raises(RunError, match=r"not empty.*a\.jpg"):
        Run.create(tmp_path / "photos", CONFIG)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*/file: File exists"):
        Run.create(tmp_path / "file", CONFIG)
    with pytest.raises(RunError, match="not a run folder"):
        Run.open(tmp_path / "photos")
    (tmp_path / "photos" / "config.toml").write_text("= broken")
    with pytest.raises(RunError, match="cannot read"):
        Run.open(tmp_path / "photos")


def _hold(path, ready, leave):
    with Run.open(path).lock():
        ready.set()
        leave.wait(30)


def test_one_process_at_a_time(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(run.path, ready, leave))
    other.start()
    assert ready.wait(30)
    with pytest.raises(RunError, match="in use"), run.lock():
        pass
    other.kill()  # the system lets go of the lock of a killed process
    other.join()
    with run.lock():
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number):
    def flock(handle, operation):
        raise OSError(number, os.strerror(number))

    run = Run.create(tmp_path / "run", CONFIG)
    monkeypatch.setattr(fcntl, "flock", flock)
    text = f"{run.path} is not locked: its file system has no locks ({os.strerror(number)})"
    with pytest.warns(RunWarning, match=re.escape(text)), run.lock():
        pass


def dead_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_folder_that_a_dead_process_has_begun_is_used(tmp_path):
    (tmp_path / "run").mkdir()
    for name in (".config.toml.{}.part", ".config.toml.pyrogen-{}-3.part", ".lock"):
        (tmp_path / "run" / name.format(dead_process())).write_text("version")
    run = Run.create(tmp_path / "run", CONFIG)
    assert {path.name for path in run.path.iterdir()} == {"config.toml", ".lock"}


def flips(content, every):
    for place in range(0, 8 * len(content), every):
        byte, bit = divmod(place, 8)
        yield content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]


def test_damaged_configuration_is_refused_in_one_sentence(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    path = run.path / "config.toml"
    whole = path.read_bytes()
    cuts = [whole[:n] for n in range(len(whole))]
    for content in [*flips(whole, 7), *cuts, b"\0" * 600, whole + b"x", b"[" * 100_000]:
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"config\.toml") as caught:
            Run.open(run.path)
        assert "\n" not in str(caught.value)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RunError, match="not a regular file"):
        Run.open(run.path)


def test_edited_older_and_newer_configurations(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    path = run.path / "config.toml"
    text = path.read_text()
    path.write_text(text.replace("seed = 3", "seed = 4"))
    with pytest.raises(RunError, match=r"was edited: .*new one by `pyrogen train --config COPY`"):
        Run.open(run.path)
    path.write_text(text.replace("version = 2", "version = 1").rpartition("#")[0])  # as 0.1 has written it
    assert Run.open(run.path).config == CONFIG
    path.write_text('version = 3\nmodel = "vae"\nnew = 1\n')
    with pytest.raises(RunError, match=r"config\.toml is of version 3; this pyrogen reads up to 2"):
        Run.open(run.path)


def test_metrics_are_those_of_a_run_that_was_never_interrupted(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    path = run.path / "metrics.jsonl"
    for t in (10, 20, 30):
        run.log({"t": t, "loss": 1.0 / t})
    with path.open("a") as file:
        file.write('{"t": 40, "lo')
    written = path.read_bytes()
    run.rewind(20)  # the checkpoint was of step 20
    assert [row["t"] for row in run.metrics()] == [10, 20]
    for t in (25, 30):
        run.log({"t": t, "loss": -math.inf})
    assert run.metrics() == [
        {"t": t, "loss": loss} for t, loss in ((10, 0.1), (20, 0.05), (25, -math.inf), (30, -math.inf))
    ]
    assert path.read_bytes().startswith(written)
    assert json.loads(path.read_text().splitlines()[-1])["loss"] == "-Infinity"
    run.rewind(30)
    assert len(path.read_bytes().splitlines()) == 7  # nothing to void


def test_a_damaged_row_is_left_out_and_no_other(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    for t in range(5):
        run.log({"t": t, "loss": t / 3, "valid_loss": math.nan})
    path, rows = run.path / "metrics.jsonl", repr(run.metrics()).removeprefix("[").removesuffix("]").split("}, ")
    whole = path.read_bytes()
    for content in flips(whole, 5):
        path.write_bytes(content)
        left = repr(run.metrics())
        assert sum(row.strip("{}") in left for row in rows) >= 4
        assert len(run.metrics()) <= 5
        assert all(str(row).strip("{}") in repr(rows) for row in run.metrics())
    path.write_bytes(b'{"t": 1, "loss": 2.5}\n{"t": "x"}\n[]\n{"loss": 3}\n{"t": 2, "loss": NaN}\n')  # as of 0.1
    assert repr(run.metrics()) == "[{'t': 1, 'loss': 2.5}, {'t': 2, 'loss': nan}]"
    path.unlink()
    os.mkfifo(path)
    for use in (run.metrics, lambda: run.log({"t": 1})):
        with pytest.raises(UserError, match="not a regular file"):
            use()


def test_free_path(tmp_path):
    assert free_path(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert free_path(tmp_path / "a") == tmp_path / "a-3"
