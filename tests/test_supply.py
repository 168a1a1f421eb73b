"""Dependencies: bounds, imports without warnings, and an audit that fails where nothing is looked up."""

import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
AUDIT = runpy.run_path(str(ROOT / "docs/scripts/audit.py"))


def test_every_dependency_has_a_lower_bound() -> None:
    pins = runpy.run_path(str(ROOT / "docs/scripts/lowest.py"))["pins"]()
    assert len(pins) > 15
    assert all("==" in pin for pin in pins)
    assert "torch==2.13" in pins


def test_the_audit_asks_for_what_is_installed_without_local_suffixes() -> None:
    wanted = AUDIT["installed"]("pyrogen")
    assert {"torch", "numpy", "pyro-ppl", "typer", "markupsafe"} <= wanted.keys()
    assert not [text for text in wanted.values() if "+" in text]


def test_a_package_that_was_not_looked_up_is_a_fault() -> None:
    answer = {
        "dependencies": [
            {"name": "Jinja2", "version": "3.1.2", "vulns": [{"id": "CVE-2024-22195", "fix_versions": ["3.1.3"]}]},
            {"name": "torch", "skip_reason": "not found"},
            {"name": "rich", "version": "14.0", "vulns": []},
        ]
    }
    wanted = {"jinja2": "3.1.2", "torch": "2.14.1", "rich": "14.0", "numpy": "2.4.6"}
    assert AUDIT["faults"](wanted, answer) == [
        "jinja2 3.1.2: CVE-2024-22195, fixed in 3.1.3",
        "numpy 2.4.6 was not looked up: it is not in the answer",
        "torch 2.14.1 was not looked up: not found",
    ]


def test_every_room_is_imported_without_a_warning() -> None:
    command = "import pyrogen\nfor room in pyrogen.ROOMS: getattr(pyrogen, room)"
    subprocess.run([sys.executable, "-W", "error", "-c", command], check=True, timeout=300)
