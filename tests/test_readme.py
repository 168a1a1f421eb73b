"""Every snippet of the README and the documentation runs, and their tables say what the code does.

The ``python`` blocks of a page and the ``pyrogen`` lines of its ``bash`` blocks run in one process, in their order,
each block after what the blocks above it have left. To be quick and to need no network,

- whatever they ask for, ``train`` and ``compare`` do two steps on small batches,
- MNIST is replaced by digits, of which there are a third, and CUDA by the CPU,
- ``photos/``, ``table.npy`` and ``arrays.npz`` are there.
"""

import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import sklearn.datasets
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

import pyrogen.data.datasets
from pyrogen.cli import main
from pyrogen.data import names

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INSTEAD = {"mnist": "digits", "cuda": "cpu"}
QUICK = " --steps 2 --batch-size 16"


def few_digits() -> None:
    """Leave a third of the rows of ``digits`` in this process."""
    images, target = (part[:600] for part in load_digits(return_X_y=True))
    part = Bunch(images=images.reshape(-1, 8, 8), target=target)
    sklearn.datasets.load_digits = lambda: part
    pyrogen.data.datasets._DIGITS_SIZES = (400, 50, 150)


def run_pieces(pieces: list[tuple[str, str, str]]) -> None:
    """Run the pieces of a page one after another, in one namespace."""
    few_digits()
    names: dict[str, Any] = {"__name__": "__main__"}
    for kind, place, text in pieces:
        print(f"--- {place}", file=sys.stderr, flush=True)
        if kind == "python":
            exec(compile(text, place, "exec"), names)
            continue
        sys.argv = shlex.split(text, comments=True)
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise


def pieces(page: Path) -> list[tuple[str, str, str]]:
    """What of a page can be run: kind, place and text."""
    text = page.read_text(encoding="utf-8")
    found = []
    for block in BLOCK.finditer(text):
        kind, body = block.groups()
        place = f"{page.relative_to(ROOT)}, line {text[: block.start()].count(chr(10)) + 1}"
        for name, other in INSTEAD.items():
            body = body.replace(name, other)
        if kind == "python":
            found.append((kind, place, re.sub(r"(compare\(.*)\bsteps=\d+", r"\1steps=2", body)))
        elif kind == "bash":
            lines = [re.sub(r" --(examples|seconds) \S+", "", x) for x in body.splitlines() if x.startswith("pyrogen ")]
            long = ("pyrogen train", "pyrogen compare")
            found += [(kind, place, line + QUICK if line.startswith(long) else line) for line in lines]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder but for the user's own data that the pages speak of."""
    draws = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            picture = draws.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "photos" / name / f"{i}.png")
    np.save(tmp_path / "table.npy", draws.standard_normal((100, 4)))
    np.savez(tmp_path / "arrays.npz", x=draws.random((100, 8, 8)), y=np.arange(100) % 3)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if pieces(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_page_runs(page: Path, folder: Path) -> None:
    done = forked.run(run_pieces, pieces(page), folder=folder, timeout=400)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_setting_up_is_two_commands() -> None:
    blocks = [body for kind, body in BLOCK.findall(PAGES[0].read_text(encoding="utf-8")) if "venv .venv" in body]
    assert [body.count("\n") for body in blocks] == [1, 1]
    assert blocks[0].rstrip().endswith("pyrogen compare")
    assert blocks[1].rstrip().endswith("pytest")


def test_the_links_lead_somewhere() -> None:
    for page in PAGES:
        targets = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        gone = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
        assert not gone, f"{page.relative_to(ROOT)}: {gone}"


def rows(page: Path) -> list[list[str]]:
    """The cells of every table row of a page, without code marks and links."""
    plain = re.sub(r"`|\[([^\]]*)\]\([^)]*\)", r"\1", page.read_text(encoding="utf-8"))
    return [[c.strip() for c in line.strip("|").split("|")] for line in plain.splitlines() if line.startswith("|")]


def test_generated_tables_are_those_of_the_registry(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    main = runpy.run_path(str(ROOT / "docs/scripts/tables.py"))["main"]
    assert main() == 0, capsys.readouterr().err


def test_every_data_set_is_in_the_table() -> None:
    table = rows(ROOT / "docs" / "data.md")
    listed = {name.strip(): row for row in table for name in row[0].split(",") if name.strip() in names()}
    assert listed.keys() == names().keys()
    for name, entry in names().items():
        _, shape, sizes, *_ = listed[name]
        assert shape in (" × ".join(map(str, entry.shape)), "as above")
        assert sizes in (" / ".join(f"{n:,}" for n in entry.sizes), "as above")
