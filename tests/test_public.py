"""Examples, scripts and documentation use nothing of the library but its public names.

Public is what ``pyrogen.__all__`` lists, and what each room's ``__all__`` lists. The types of the same code are checked
by ``tests/check_types.py``.
"""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from check_types import PAGES, ROOT, python_of

import pyrogen

FILES = [*sorted((ROOT / "examples").glob("*.py")), *sorted((ROOT / "docs" / "scripts").glob("*.py"))]


def private(source: str) -> list[str]:
    """What code uses of pyrogen that is not public: by ``import``, ``from … import``, or as an attribute of it."""
    tree = ast.parse(source)
    return [name for node in ast.walk(tree) for name in _used(node, _aliases(tree)) if not is_public(name)]


def _aliases(tree: ast.AST) -> dict[str, str]:
    """The names by which code knows pyrogen and its rooms."""
    found = {"pyrogen": "pyrogen"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.asname: a.name for a in node.names if a.asname and a.name.split(".")[0] == "pyrogen"}
        elif isinstance(node, ast.ImportFrom) and node.module == "pyrogen":
            found |= {a.asname or a.name: f"pyrogen.{a.name}" for a in node.names if a.name in pyrogen.ROOMS}
    return found


def _used(node: ast.AST, aliases: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "pyrogen")
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pyrogen":
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Attribute):
        *_, chain = _chains(node)
        first, *rest = chain
        if first in aliases:
            yield ".".join((aliases[first], *rest))


def _chains(node: ast.expr) -> Iterator[tuple[str, ...]]:
    """``a.b.c`` as ("a", "b", "c"); of anything else that has an attribute, ("",)."""
    if isinstance(node, ast.Name):
        yield (node.id,)
    elif isinstance(node, ast.Attribute):
        for chain in _chains(node.value):
            yield (*chain, node.attr)
    else:
        yield ("",)


def is_public(dotted: str) -> bool:
    """Whether ``pyrogen.…`` is a public name, a room, a public name of a room, or an attribute of one of these."""
    _, *path = dotted.split(".")
    if not path or path[0] not in pyrogen.__all__:
        return not path
    return path[0] not in pyrogen.ROOMS or len(path) == 1 or path[1] in import_module(f"pyrogen.{path[0]}").__all__


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_examples_and_scripts_use_public_names(path: Path) -> None:
    assert not private(path.read_text(encoding="utf-8"))


def test_the_documentation_uses_public_names() -> None:
    used = {str(page.relative_to(ROOT)): python_of(page) for page in PAGES}
    assert sum("pyrogen" in code for code in used.values()) > 10  # else the blocks were not found
    assert not {page: names for page, code in used.items() if (names := private(code))}


@pytest.mark.parametrize(
    "code",
    [
        "import pyrogen.steps.svi",
        "import pyrogen.steps.svi as svi",
        "from pyrogen import nonsense",
        "from pyrogen import files",
        "from pyrogen.steps.svi import SVI",
        "from pyrogen.steps import svi",
        "from pyrogen.steps import no_guide",
        "import pyrogen\npyrogen.nonsense(1)",
        "import pyrogen\npyrogen.steps.svi.SVI",
        "import pyrogen\nprint(pyrogen.steps.no_guide.__name__)",
        "import pyrogen as library\nlibrary.steps.no_guide",
        "from pyrogen import steps\nsteps.no_guide()",
        "from pyrogen import steps as library\nlibrary.no_guide()",
    ],
)
def test_what_is_not_public_is_seen(code: str) -> None:
    assert private(code)


@pytest.mark.parametrize(
    "code",
    [
        "import pyrogen",
        "import pyrogen\npyrogen.SVI.step",
        "import pyrogen\npyrogen.steps.SVI(model).step(x)",
        "from pyrogen import SVI, steps\nsteps.SVI",
        "from pyrogen.steps import SVI",
        "steps = [1]\nsteps.append(2)",
    ],
)
def test_what_is_public_is_not(code: str) -> None:
    assert not private(code)
