"""What several tests need."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The root given by ``PYROGEN_DATA``, if MNIST lies in it."""
    given = os.environ.get("PYROGEN_DATA")
    if not given:
        pytest.skip("set PYROGEN_DATA to a folder with MNIST/raw to run what needs MNIST")
    if not (Path(given) / "MNIST" / "raw").is_dir():
        pytest.skip(f"PYROGEN_DATA={given} has no MNIST/raw")
    return Path(given)
