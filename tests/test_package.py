"""The source distribution and the wheel hold what they should, and a wheel built from the former is the latter."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pyrogen

ROOT = Path(__file__).parents[1]
NAME = f"pyrogen-{pyrogen.__version__}"


def build(source: Path, folder: Path, *targets: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *targets]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


def files(*folders: str) -> set[str]:
    """The files of folders of the repository, but for what Python and a user's notebooks leave there."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(ROOT))
        for path in found
        if path.suffix not in (".pyc", ".ipynb") and not any(part.startswith(".") for part in path.parts[-3:])
    }


def in_wheel(folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl") as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


def test_the_wheel_has_the_package_alone(built: Path) -> None:
    wheel = in_wheel(built)
    meta = {name for name in wheel if name.startswith(f"{NAME}.dist-info/")}
    assert wheel.keys() - meta == files("pyrogen")
    assert {"pyrogen/py.typed", "pyrogen/report/page/template.html", "pyrogen/experiments/page.html"} <= wheel.keys()
    assert b"pyrogen = pyrogen.cli:main" in wheel[f"{NAME}.dist-info/entry_points.txt"]
    assert f"{NAME}.dist-info/licenses/LICENSE" in meta
    assert f"Version: {pyrogen.__version__}\n".encode() in wheel[f"{NAME}.dist-info/METADATA"]


def test_the_source_distribution_has_tests_and_documentation_and_builds_the_same_wheel(
    built: Path, tmp_path: Path
) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / NAME
    found = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    top = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"}
    assert found - {"PKG-INFO", ".gitignore"} == files("pyrogen", "tests", "examples", "docs") | top
    build(source, tmp_path / "dist", "-t", "wheel")
    assert in_wheel(tmp_path / "dist") == in_wheel(built)
