"""Freed memory is kept for the next step."""

import os
import subprocess
import sys

import pytest

from pyrogen.training.memory import retain_heap

PROGRAM = """
import resource, torch
import pyrogen
from pyrogen.training.memory import retain_heap

def step(x):
    for _ in range(3):
        torch.ones(5_000_000)
    torch.ones(2_000_000)
    return {"loss": x.sum()}

faults = []
for t, logs in pyrogen.fit(step, torch.rand(64, 4), steps=20, batch_size=8):
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(retain_heap(), faults[-1] - faults[9])
"""


def pages(**environment: str) -> tuple[str, int]:
    """Whether memory is kept, and the pages that ten steps had mapped, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not retain_heap(), reason="no glibc here, or its settings are the user's")
def test_steps_do_not_map_their_memory_anew():
    kept, faults = pages()
    freed, more = pages(MALLOC_TRIM_THRESHOLD_="131072")  # the user's word counts: each step maps its blocks again
    assert (kept, freed) == ("True", "False")
    assert 2 * faults < more  # a block may be mapped once more than was foreseen, but not all of them in each step
