"""``pyrogen watch``: a local page that follows a run."""

import json
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from pyrogen.cli.arguments import Folder
from pyrogen.cli.console import message
from pyrogen.errors import ConfigError

if TYPE_CHECKING:
    from pyrogen.training.opened import Opened

HOST = "127.0.0.1"


def watch(
    folder: Folder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 for one that is free.")] = 0,
) -> None:
    """Serve a page on this machine alone that follows a run: its curves, latest row and samples. Ctrl-C ends it."""
    from pyrogen.training.opened import open

    opened = open(folder)
    opened.metrics  # noqa: B018  # raises an error if the folder is none of one run
    try:
        server = HTTPServer((HOST, port), partial(Page, opened))
    except OSError as error:
        raise ConfigError(f"cannot serve on port {port}: {error.strerror}") from error
    with server:
        message(f"following {folder} on http://{HOST}:{server.server_port}/ until Ctrl-C")
        server.serve_forever()


class Page(BaseHTTPRequestHandler):
    """Answers a browser of this machine: the page, the state of the run, its curves, and its newest picture.

    Args:
        opened: the run.
        request: what the server passes.
    """

    def __init__(self, opened: "Opened", *request: object) -> None:
        self.opened = opened
        super().__init__(*request)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer a request; one for another host's name, as a page elsewhere could send it, is refused."""
        if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):
            self.send_error(403)
            return
        answers = {
            "/": (self._page, "text/html; charset=utf-8"),
            "/state": (self._state, "application/json"),
            "/curves.svg": (self._curves, "image/svg+xml"),
            "/picture": (self._picture, "image/png"),
        }
        found = answers.get(urlsplit(self.path).path)
        content = found[0]() if found else None
        if found is None or content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", found[1])
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""

    def _page(self) -> bytes:
        from pyrogen.report.templates import render_page

        title = f"{self.opened.config.model} on {self.opened.config.data}"
        folder = str(self.opened.path)
        return render_page("pyrogen.report", "watch.html", script="watch.js", title=title, folder=folder)

    def _state(self) -> bytes:
        rows = self.opened.metrics
        row = rows[-1] if rows else {}
        picture = self._newest()
        shown = "" if picture is None else f"picture?{picture.stem}"
        state = {"t": row.get("t", 0), "steps": self.opened.config.options["steps"], "row": row, "picture": shown}
        return json.dumps(state | {"row": {name: _json(value) for name, value in row.items()}}).encode()

    def _curves(self) -> bytes | None:
        from pyrogen.report import curves_svg

        rows = self.opened.metrics
        return curves_svg(rows).encode() if rows else None

    def _newest(self) -> Path | None:
        return max(self.opened.path.glob("samples/*.png"), default=None)

    def _picture(self) -> bytes | None:
        from pyrogen.files import read_regular

        picture = self._newest()
        return None if picture is None else read_regular(picture)


def _json(value: float) -> float | str:
    """A number that JSON has, or the text of one that it has not."""
    return value if abs(value) < float("inf") else str(value)
