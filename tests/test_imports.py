"""The rooms as ``pyrogen.ROOMS`` orders them: imports point one way, and importing changes nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from imports import FILES, ORDER, ROOT, TOP, imported, room

import pyrogen


def wrong(source: str, here: str, package: str) -> list[str]:
    """The imports that a file in ``here`` must not make."""
    before = {here, *ORDER[: ORDER.index(here)]}
    return [name or "pyrogen" for name in imported(source, package) if name.split(".")[0] not in before]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    assert here in ORDER, f"{here} is neither in pyrogen.ROOMS nor one of {TOP}"
    package = ".".join(["pyrogen", *path.relative_to(ROOT).parts[:-1]])
    found = wrong(path.read_text(encoding="utf-8"), here, package)
    assert not found, f"{path.relative_to(ROOT)} imports {found}"


@pytest.mark.parametrize(
    "statement",
    [
        "import pyrogen",
        "import pyrogen as library",
        "import pyrogen.steps.svi",
        "from pyrogen import steps",
        "from pyrogen import SVI",
        "from pyrogen.steps import SVI",
        "from .. import steps",
        "from ..steps import SVI",
        "from ..steps.svi import SVI as Step",
        "def f():\n    from ..steps import svi",
        "import_module('pyrogen.steps')",
    ],
)
def test_every_form_of_import_is_seen(statement: str) -> None:
    assert wrong(statement, "nn", "pyrogen.nn")


@pytest.mark.parametrize(
    "statement", ["from . import mlp", "from .mlp import mlp", "from pyrogen.errors import unknown"]
)
def test_a_room_imports_itself_and_what_is_before_it(statement: str) -> None:
    assert not wrong(statement, "nn", "pyrogen.nn")


def test_models_do_not_import_what_trains_or_measures_them() -> None:
    models = ("implicit", "reconstruction", "explicit", "hybrid")
    trains = ("compile", "objectives", "steps", "training", "measure")
    assert max(map(ORDER.index, models)) < min(map(ORDER.index, trains))


def test_implicit_models_do_not_import_pyro() -> None:
    for path in (ROOT / "implicit").glob("*.py"):
        names = [n.name for node in ast.walk(ast.parse(path.read_text())) for n in getattr(node, "names", [])]
        modules = [getattr(node, "module", "") or "" for node in ast.walk(ast.parse(path.read_text()))]
        assert not [name for name in (*names, *modules) if name == "pyro" or name.startswith("pyro.")]


def test_every_room_says_what_it_holds_and_is_an_attribute_from_the_first_import() -> None:
    for name in pyrogen.ROOMS:
        command = f"import pyrogen; room = pyrogen.{name}; assert len(room.__doc__) > 40; assert room.__all__"
        if name in ("nn", "steps", "bench"):  # a process each is slow, and one way serves all
            subprocess.run([sys.executable, "-W", "error", "-c", command], check=True)
        module = getattr(pyrogen, name)
        assert module.__doc__
        assert all(getattr(module, public) is not None for public in module.__all__)


def test_files_functions_and_rooms_are_short() -> None:
    lines = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert not {name: n for name, n in lines.items() if n > 300}
    assert sorted(lines.values())[len(lines) // 2] <= 120
    long = {
        f"{path.relative_to(ROOT)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None and node.end_lineno - node.lineno >= 60
    }
    assert not long
    crowded = {name: len(list((ROOT / name).glob("*.py"))) for name in pyrogen.ROOMS if name != "explicit"}
    assert not {name: n for name, n in crowded.items() if n > 15}


FRESH = """
import random, numpy, torch, pyro
import torch.distributions as td
def settings():
    return (torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.is_grad_enabled(),
            torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
            torch.get_float32_matmul_precision(), td.Distribution._validate_args, pyro.settings.get(),
            numpy.random.get_state()[1].tolist(), numpy.geterr(), random.getstate(),
            sorted(pyro.get_param_store().keys()))
torch.manual_seed(3); numpy.random.seed(3); random.seed(3)
before = settings()
import importlib, pathlib, pyrogen
root = pathlib.Path(pyrogen.__file__).parent
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    # rich, which the command line prints with, draws from Python's random while it is imported
    if parts[0] != "cli" and parts[-1] != "__main__":
        importlib.import_module(".".join(("pyrogen", *parts)).removesuffix(".__init__"))
for name in set(pyrogen.__all__) - {"cli"}:
    getattr(pyrogen, name)
assert settings() == before
import sys
assert "matplotlib" not in sys.modules, "matplotlib is for drawing"
"""


def test_importing_everything_changes_no_global_setting() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", FRESH], check=True)


def test_help_needs_no_torch() -> None:
    code = "import sys, pyrogen.cli; assert 'torch' not in sys.modules and 'pyro' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist_and_unknown_ones_do_not() -> None:
    assert all(getattr(pyrogen, name) is not None for name in pyrogen.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = pyrogen.nonsense
