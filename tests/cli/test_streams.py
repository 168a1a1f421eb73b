"""Standard streams that are closed, full or without a reader, in processes of their own."""

import subprocess
import sys

import pytest

from pyrogen.training import configure
from pyrogen.training.checkpoint import newest
from pyrogen.training.run import Run

PYROGEN = f"{sys.executable} -W error -m pyrogen"


def shell(command, **options):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300, **options)


@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        (f"{PYROGEN} train --help | head -c 1; exit ${{PIPESTATUS[0]}}", 141, ""),
        (f"{PYROGEN} --help > /dev/full", 2, "pyrogen: cannot write to standard output: No space left on device\n"),
        (f"{PYROGEN} --help >&- 2>&-", 0, ""),
        (f"{PYROGEN} evaluate nothing 2> /dev/full", 2, ""),
    ],
)
def test_a_command_ends_without_a_traceback(command, status, error, tmp_path):
    done = shell(command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (status, error)


@pytest.mark.parametrize("streams", ["2>&1 | head -1; exit ${PIPESTATUS[0]}", "<&- >&- 2>&-"])
def test_a_run_goes_on_to_its_end(streams, tmp_path):
    options = {"steps": 20, "batch_size": 64, "hidden": (8,), "latent": 2}
    run = Run.create(tmp_path / "run", configure("vae", "digits", options=options))
    done = shell(f"{PYROGEN} resume {run.path} {streams}")
    assert done.returncode == 0, done.stderr
    assert newest(run.path).name == "checkpoint-00000020"
    assert len(run.metrics()) == 20
    assert "Traceback" not in done.stdout
