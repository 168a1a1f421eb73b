"""The run folder: made once, held by one process, and read back as it was written."""

import multiprocessing
import tomllib

import pytest

from pyrogen.errors import RunError
from pyrogen.training import configure
from pyrogen.training.run import Run, free_path

CONFIG = configure("vae", 'a "quoted" näme\n', seed=3, options={"hidden": (2, 3), "lr": 1e-3, "sigma": 0.5})


def test_config_is_toml_that_reads_back(tmp_path):
    run = Run.create(tmp_path / "deep" / "run", CONFIG)
    assert Run.open(run.path).config == CONFIG
    written = tomllib.loads((run.path / "config.toml").read_text())
    assert written["version"] == 1
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
    with pytest.raises(RunError, match="cannot write into"):
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


def test_metrics_survive_a_cut_line_and_can_be_rewound(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    for t in (10, 20, 30):
        run.log({"t": t, "loss": 1.0 / t})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"t": 40, "lo')
    assert [row["t"] for row in run.metrics()] == [10, 20, 30]
    run.rewind(20)
    run.log({"t": 30, "loss": 0.5})
    assert [row["t"] for row in run.metrics()] == [10, 20, 30]
    assert run.metrics()[-1]["loss"] == 0.5


def test_free_path(tmp_path):
    assert free_path(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert free_path(tmp_path / "a") == tmp_path / "a-3"
