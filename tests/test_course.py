"""Every chapter of the course runs, is complete, and quotes lines that the library still has."""

import ast
import importlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import jupytext
import nbclient
import nbformat
import pytest
from jupyter_client import KernelManager

import pyrogen

ROOT = Path(__file__).parent.parent
COURSE = ROOT / "docs" / "course"
CHAPTERS = sorted(COURSE.glob("*.py"))
SCRIPT = COURSE / "03_transposed_convolution.py"
QUOTED = re.compile(r"^`(pyrogen/\S+\.py)`:\n\n```python\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
FRESH = """
%reset -f
import os, sys, warnings
import matplotlib.pyplot
with warnings.catch_warnings(action="ignore"):  # tqdm without widgets
    import pyrogen
warnings.simplefilter("error")
matplotlib.pyplot.close("all")
sys.path.insert(0, {tests!r})
import quick
quick.measures()
os.chdir({folder!r})
%reset -f
"""
FORMULA = re.compile(r"\$\$.+?\$\$", re.DOTALL)


def cells(chapter: Path) -> list[tuple[str, str]]:
    """The kind of each cell, ``markdown`` or ``code``, and its text."""
    return [(cell.cell_type, cell.source) for cell in jupytext.read(chapter).cells]


def prose(chapter: Path) -> str:
    return "\n".join(text for kind, text in cells(chapter) if kind == "markdown")


def run_chapter(chapter: Path) -> None:
    """Run it with few steps and without a display."""
    os.environ |= {"PYROGEN_SMOKE": "1", "MPLBACKEND": "Agg"}
    forked.script(chapter)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    """The client of one kernel for all notebooks: a kernel and its imports take longer than most chapters."""
    manager = KernelManager()
    environment = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "PYROGEN_DATA")}
    manager.start_kernel(env=environment | {"PYROGEN_SMOKE": "1"}, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_notebook(chapter: Path, kernel: Any, folder: Path) -> list[Any]:
    """Run it from its first cell in an empty namespace; return what its cells gave."""
    notebook: Any = jupytext.read(chapter)
    first = FRESH.format(tests=str(ROOT / "tests"), folder=str(folder))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    runner = nbclient.NotebookClient(notebook, timeout=120, km=kernel.parent)
    runner.kc = kernel
    runner.execute()
    return [output for cell in notebook.cells[1:] for output in cell.get("outputs", ())]


def without_spaces(text: str) -> str:
    return "".join(text.split())


def missing(text: str) -> list[str]:
    """The lines quoted in a text that the file named beside them does not have."""
    return [
        f"{path}: {line}"
        for path, lines in QUOTED.findall(text)
        for line in lines.splitlines()
        if without_spaces(line) not in without_spaces((ROOT / path).read_text(encoding="utf-8"))
    ]


every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


@every_chapter
def test_the_chapter_runs_as_a_notebook_and_saves_the_pictures_it_shows(
    chapter: Path, kernel: Any, tmp_path: Path
) -> None:
    outputs = run_notebook(chapter, kernel, tmp_path)
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} <= {"stdout"}
    named = set(re.findall(r'OUT / "(\w+\.png)"', chapter.read_text(encoding="utf-8")))
    assert named
    assert all(name.startswith(chapter.stem[:2]) for name in named)
    assert {path.name for path in (tmp_path / "runs" / "course").iterdir()} == named
    assert sum("image/png" in output.get("data", {}) for output in outputs) == len(named)


def test_a_chapter_runs_as_a_script(tmp_path: Path) -> None:
    done = forked.run(run_chapter, SCRIPT, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    assert {path.name for path in (tmp_path / "runs" / "course").iterdir()} == {"03_transposed.png", "03_pooling.png"}


@every_chapter
def test_the_pictures_and_texts_of_the_site_are_those_of_the_chapter(chapter: Path) -> None:
    printed = json.loads((COURSE / "printed.json").read_text(encoding="utf-8"))[chapter.stem]
    code = [text for kind, text in cells(chapter) if kind == "code"]
    assert [bool(text) for text in printed] == ["print(" in text for text in code]
    named = re.findall(r'OUT / "(\w+\.png)"', "".join(code))
    assert all((ROOT / "docs" / "images" / "course" / name).is_file() for name in named)


@every_chapter
def test_the_quoted_lines_are_those_of_the_library(chapter: Path) -> None:
    text = prose(chapter)
    assert text.count("```python") == len(QUOTED.findall(text)) > 0
    assert not missing(text)


def test_a_line_that_the_library_has_not_is_found() -> None:
    text = "`pyrogen/objectives/adversarial.py`:\n\n```python\nreturn fake.mean() + real.mean()\n```"
    assert missing(text) == ["pyrogen/objectives/adversarial.py: return fake.mean() + real.mean()"]


@every_chapter
def test_the_chapter_has_formulas_and_exercises_with_solutions(chapter: Path) -> None:
    found, text = cells(chapter), prose(chapter)
    assert text.startswith(f"# {int(chapter.stem[:2])}. ")
    assert FORMULA.search(text)
    assert re.findall(r"^\*\*Exercise (\d)\.\*\*", text, re.MULTILINE) == ["1", "2", "3"]
    solved = [i for i, (kind, body) in enumerate(found) if kind == "markdown" and body.startswith("### Solution")]
    assert [found[i][1].splitlines()[0] for i in solved] == [f"### Solution {n}" for n in (1, 2, 3)]
    assert all(found[i + 1][0] == "code" for i in solved)


@every_chapter
def test_the_chapter_uses_public_names_alone(chapter: Path) -> None:
    tree = ast.parse(chapter.read_text(encoding="utf-8"))
    imports = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("pyrogen")
    ]
    assert imports
    for node in imports:
        assert node.module.removeprefix("pyrogen.") in ("pyrogen", *pyrogen.ROOMS)
        assert {alias.name for alias in node.names} <= set(importlib.import_module(node.module).__all__), node.module


def test_the_contents_list_every_chapter() -> None:
    listed = re.findall(r"^\| \[[^\]]+\]\((\S+\.py)\) \| .+\. \|$", (COURSE / "README.md").read_text(), re.MULTILINE)
    assert listed == [path.name for path in CHAPTERS]
    assert len(CHAPTERS) == 11
