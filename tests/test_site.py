"""The site builds without a warning, and every page and every room is in its navigation."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pyrogen

DOCS = Path(__file__).parent.parent / "docs"


def test_every_room_and_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (DOCS / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert {f"api/{room}.md" for room in pyrogen.ROOMS} <= listed
    assert pages == listed


def test_the_site_builds_and_its_formulas_and_names_are_there(tmp_path: Path) -> None:
    build = ("-m", "mkdocs", "build", "-q", "--strict")
    command = [sys.executable, *build, "-f", "docs/mkdocs.yml", "-d", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=DOCS.parent, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "critic_steps" in (tmp_path / "api/steps/index.html").read_text(encoding="utf-8")
    assert "ELBO(x) = E_q[log p(x | z)]" in (tmp_path / "models/vae/index.html").read_text(encoding="utf-8")
    assert (tmp_path / "search/search_index.json").stat().st_size > 100_000
