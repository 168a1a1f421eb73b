"""What several tests need."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Tests run side by side: one thread each, here and in the processes they start, or they wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import quick
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# Times of a machine that runs other work say nothing about a test.
settings.register_profile("shared", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

CHROMIUM = os.environ.get("PYROGEN_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from one state of torch's generator, in whichever order they run."""
    torch.manual_seed(0)


@pytest.fixture
def quick_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are by fewer trees, training steps and splits than in use."""
    quick.measures(monkeypatch.setattr)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The root given by ``PYROGEN_DATA``, if MNIST lies in it."""
    given = os.environ.get("PYROGEN_DATA")
    if not given:
        pytest.skip("set PYROGEN_DATA to a folder with MNIST/raw to run what needs MNIST")
    if not (Path(given) / "MNIST" / "raw").is_dir():
        pytest.skip(f"PYROGEN_DATA={given} has no MNIST/raw")
    return Path(given)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium on the path; set PYROGEN_CHROMIUM to one")
    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-pings",
    ]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()
