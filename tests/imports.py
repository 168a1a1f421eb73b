"""What the files of pyrogen import of each other, whatever form the statement has."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pyrogen

ROOT = Path(pyrogen.__file__).parent
TOP = ("launched", "errors", "summary", "console", "protocols", "random", "files", "locks", "torch_file", "ranks")
"""The modules at the top, in order; every room may import them."""
ORDER = (*TOP, *pyrogen.ROOMS)
FILES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(source: str, package: str) -> Iterator[str]:
    """What a file of ``package`` imports of pyrogen, dotted, wherever in it the statement stands; the root is ''.

    ``import pyrogen`` is the root, with whatever attribute it is read for; ``from pyrogen import x`` is x; a relative
    import is resolved against the package.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        for name in names:
            if name.split(".")[0] == "pyrogen":
                yield name.removeprefix("pyrogen").removeprefix(".")


def imports_of(path: Path) -> Iterator[str]:
    """What a file of pyrogen imports of it."""
    package = ".".join(["pyrogen", *path.relative_to(ROOT).parts[:-1]])
    return imported(path.read_text(encoding="utf-8"), package)


def between_rooms() -> dict[str, set[str]]:
    """The rooms that each room imports from."""
    found: dict[str, set[str]] = {name: set() for name in pyrogen.ROOMS}
    for path in FILES:
        if room(path) in found:
            found[room(path)] |= {name.split(".")[0] for name in imports_of(path)} & found.keys() - {room(path)}
    return found
