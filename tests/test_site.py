"""The site builds without a warning, every page is in its navigation, and its formulas are drawn without a network."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import pyrogen

DOCS = Path(__file__).parent.parent / "docs"
CHAPTERS = [path.stem for path in sorted((DOCS / "course").glob("*.py"))]
FORMULA = re.compile(r'<(?:span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</(?:span|div)>', re.DOTALL)
SOURCE = re.compile(r"<(pre|code|script|style)\b.*?</\1>", re.DOTALL)
# What Markdown makes of two underscores or asterisks within a formula.
GARBLED = re.compile(r"<em>[^<]*[=Σ∏Π∫()\[\]{}^|‖√∇σμθ][^<]*</em>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew."""
    folder = tmp_path_factory.mktemp("site")
    build = ("-m", "mkdocs", "build", "-q", "--strict")
    command = [sys.executable, *build, "-f", "docs/mkdocs.yml", "-d", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=DOCS.parent, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    """The HTML of every page, by its address."""
    return {str(path.parent.relative_to(site)): path.read_text(encoding="utf-8") for path in site.rglob("index.html")}


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_room_and_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (DOCS / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    found = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} | {f"course/{name}.md" for name in CHAPTERS}
    assert {f"api/{room}.md" for room in pyrogen.ROOMS} <= listed
    assert found == listed


def test_the_site_has_the_names_of_the_api_the_chapters_and_their_pictures(site: Path, pages: dict[str, str]) -> None:
    assert "critic_steps" in pages["api/steps"]
    assert (site / "search/search_index.json").stat().st_size > 100_000
    for name in CHAPTERS:
        pictures = re.findall(r'<img[^>]* src="\.\./\.\./(images/course/\w+\.png)"', pages[f"course/{name}"])
        assert pictures
        assert all((site / picture).is_file() for picture in pictures)
        assert f'href="../{name}.ipynb"' in pages[f"course/{name}"]
        assert '"cell_type"' in (site / f"course/{name}.ipynb").read_text(encoding="utf-8")
        assert f'href="{name}/"' in pages["course"]


def test_no_formula_is_garbled_or_left_as_its_source(pages: dict[str, str]) -> None:
    assert len(pages) > 60
    assert GARBLED.search("<td>f(z)<em>i = μ_i(z</em>&lt;i)</td>")
    for name, page in pages.items():
        text = SOURCE.sub("", page)
        assert not GARBLED.search(text), (name, GARBLED.search(text))
        left = re.search(r"(?<!\d )\$(?! per)|\\[(\[]", FORMULA.sub("", text))
        assert left is None, (name, text[left.start() - 80 : left.end() + 80])
        assert "```" not in text, name


def test_katex_draws_every_formula_without_a_network(pages: dict[str, str], address: str, chromium: Any) -> None:
    formulas = {name: [unescape(tex) for _, tex in FORMULA.findall(page)] for name, page in pages.items()}
    assert sum(map(len, formulas.values())) > 400
    assert all(formulas[f"course/{name}"] for name in CHAPTERS)
    page = chromium.new_page(viewport={"width": 390, "height": 900})
    asked, troubles = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    for name in ("models/vae", "models/gan", "course/06_vae"):
        page.goto(f"{address}/{name}/")
        places = page.locator(".arithmatex")
        assert places.count() == len(formulas[name]) == page.locator(".arithmatex .katex").count()
        assert page.locator(".katex-error").count() == 0
    assert page.evaluate("document.fonts.check('16px KaTeX_Main')")
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
    assert any(url.endswith(".woff2") for url in asked)
    draw = "tex => { try { katex.renderToString(tex); return '' } catch (error) { return String(error) } }"
    failed = page.evaluate(f"texts => texts.map({draw})", [tex for texts in formulas.values() for tex in texts])
    assert not [message for message in failed if message]
    assert not troubles


@pytest.mark.parametrize("name", ["", "models/vae", "course/06_vae", "results", "api/steps"])
@pytest.mark.parametrize("width", [1200, 390])
def test_no_page_is_wider_than_the_window(name: str, width: int, address: str, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto(f"{address}/{name}/".replace("//", "/").replace(":/", "://"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
