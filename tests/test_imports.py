"""The house as its plan says: imports point one way, and importing changes nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pyrogen

ROOT = Path(pyrogen.__file__).parent
GROUND = {"protocols", "errors", "files", "random", "precision", "options", "nn", "data", "programs", "traces"}
ALLOWED = {
    "protocols": set(),
    "errors": set(),
    "files": {"errors"},
    "random": set(),
    "precision": set(),
    "programs": set(),
    "traces": {"errors"},
    "options": {"errors"},
    "nn": {"errors", "random", "precision", "protocols"},
    "data": {"errors", "random", "precision", "protocols", "files"},
    "explicit": GROUND,
    "implicit": GROUND,
    "hybrid": GROUND | {"explicit", "implicit"},
    "autoencoder": GROUND,
    "infer": GROUND,
    "train": GROUND,
    "measure": GROUND,
    "report": GROUND,
    "tables": set(),
    "recipes": GROUND | {"explicit", "implicit", "hybrid", "autoencoder", "infer"},
    "training": GROUND | {"recipes", "train", "measure", "report"},
    "comparing": GROUND | {"recipes", "training", "train", "measure", "report", "explicit"},
    "progress": {"training"},
    "cli": GROUND | {"recipes", "training", "comparing", "progress", "tables", "train", "measure", "report"},
    "__main__": {"cli"},
    "testing": GROUND | {"recipes", "infer", "train", "measure"},
    "bench": GROUND | {"explicit", "implicit", "infer", "train", "measure", "report"},
}
FILES = sorted(ROOT.rglob("*.py"))


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """The rooms of the house that a file imports, wherever in it the statement stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            parts = name.split(".")
            if parts[0] == "pyrogen" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    if path == ROOT / "__init__.py":
        return
    here = room(path)
    assert here in ALLOWED, f"{here} is a new room: give it a place in the plan"
    wrong = set(imported(path)) - ALLOWED[here] - {here}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_implicit_models_know_no_pyro():
    for path in (ROOT / "implicit").glob("*.py"):
        assert "import pyro\n" not in path.read_text()
        assert "from pyro." not in path.read_text()


def test_files_are_short():
    lines = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert not {name: n for name, n in lines.items() if n > 350}


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
import importlib, pkgutil, pyrogen
for module in pkgutil.walk_packages(pyrogen.__path__, "pyrogen."):
    # rich, which the command line prints with, draws from Python's random while it is imported
    if module.name.split(".")[1] not in ("__main__", "cli", "tables", "progress"):
        importlib.import_module(module.name)
for name in pyrogen.__all__:
    getattr(pyrogen, name)
assert settings() == before
import sys
assert "matplotlib" not in sys.modules, "matplotlib is for drawing"
"""


def test_importing_everything_changes_no_global_setting():
    subprocess.run([sys.executable, "-W", "error", "-c", FRESH], check=True)


def test_help_needs_no_torch():
    code = "import sys, pyrogen.cli; assert 'torch' not in sys.modules and 'pyro' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist_and_unknown_ones_do_not():
    assert all(getattr(pyrogen, name) is not None for name in pyrogen.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        pyrogen.nonsense  # noqa: B018
