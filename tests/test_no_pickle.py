"""Nothing that is shipped unpickles: ruff's rule finds the functions, and these tests what a rule of names cannot."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = [path for folder in ("pyrogen", "examples", "docs") for path in sorted((ROOT / folder).rglob("*.py"))]


def lint(source: str, name: str = "pyrogen/planted.py") -> str:
    """What ruff says of a file of that name, which need not exist, by the rules of this repository."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "-"]
    done = subprocess.run([*command, "--stdin-filename", name], input=source, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


PLANTED = """
import pickle
import torch
from torch import load as read
from torch.serialization import load
import torch as t

torch.save({}, "a")
t.load("a", weights_only=True)
torch.jit.load("a")
"""


def test_the_rule_finds_what_unpickles_and_is_in_force() -> None:
    found = lint(PLANTED)
    for line in (2, 4, 5, 8, 9, 10):
        assert re.search(rf"planted.py:{line}:\d+: TID251", found)
    assert "planted.py:3:" not in found
    assert "TID251" in lint(PLANTED, "examples/planted.py")
    assert "TID251" in lint(PLANTED, "docs/scripts/planted.py")
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", *SHIPPED]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def unpickling(source: str) -> list[int]:
    """The lines that let numpy unpickle, load Pyro's store, which does, or name a banned module as a text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found += [] if isinstance(node.value, ast.Constant) and node.value.value is False else [node.value.lineno]
        elif isinstance(node, ast.keyword) and node.arg == "weights_only":
            found.append(node.value.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("get_param_store().load"):
            found.append(node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            found += [
                node.lineno for text in node.args if isinstance(text, ast.Constant) and "pickle" in str(text.value)
            ]
    return found


@pytest.mark.parametrize(
    "line",
    [
        "np.load(file, allow_pickle=True)",
        "np.load(file, allow_pickle=flag)",
        "torch.load(file, weights_only=True)",
        "pyro.get_param_store().load(file)",
        "importlib.import_module('pickle')",
        "__import__('pickle').load(file)",
    ],
)
def test_what_the_rule_cannot_see_is_found(line: str) -> None:
    assert unpickling(f"\n{line}\n") == [2]
    assert not unpickling("np.load(file, allow_pickle=False)")


def test_nothing_shipped_unpickles() -> None:
    assert len(SHIPPED) > 200
    assert not {path: lines for path in SHIPPED if (lines := unpickling(path.read_text(encoding="utf-8")))}
