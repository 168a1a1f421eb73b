"""``pyrogen watch``: a local page that follows a run."""

import json
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit

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
    """Serve a page on this machine alone that follows a run: its curves, latest row and samples. Ctrl-C ends it.

    Of a comparison it follows the run with the newest row, beside the latest row of the others.
    """
    from pyrogen.training.opened import open

    newest(open(folder)).metrics  # noqa: B018  # raises an error if the folder holds no run
    try:
        server = HTTPServer((HOST, port), partial(Page, folder))
    except OSError as error:
        raise ConfigError(f"cannot serve on port {port}: {error.strerror}") from error
    with server:
        message(f"following {folder} on http://{HOST}:{server.server_port}/ until Ctrl-C")
        server.serve_forever()


def newest(opened: "Opened") -> "Opened":
    """The run that was opened; of several, the one that was logged last."""

    def logged(name: str) -> float:
        file = opened.path / name / "metrics.jsonl"
        return file.stat().st_mtime if file.exists() else 0.0

    return opened[max(opened.runs, key=logged)] if opened.runs else opened


class Page(BaseHTTPRequestHandler):
    """Answers a browser of this machine: the page, the state of the run, its curves, and its newest picture.

    Args:
        folder: of the run or the comparison.
        request: what the server passes.
    """

    def __init__(self, folder: Path, *request: object) -> None:
        from pyrogen.training.opened import open

        self.folder, self.several = folder, open(folder)
        self.opened = newest(self.several)
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
        with suppress(ConnectionError):  # the browser has gone
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""

    def _page(self) -> bytes:
        from pyrogen.report.templates import render_page

        folder = str(self.folder)
        return render_page("pyrogen.report", "watch.html", script="watch.js", title=self._title(), folder=folder)

    def _title(self) -> str:
        config = self.opened.config
        return f"{config.model if self.opened.path == self.folder else self.opened.path.name} on {config.data}"

    def _runs(self) -> list[list[str]]:
        """The name, the step and the main loss of every run of a comparison."""
        from pyrogen.training.monitoring.display import main_loss

        rows = []
        for name in self.several.runs:
            run = self.several[name]
            last = next(reversed(run.metrics), {})
            rows.append([name, f"{last.get('t', 0):.0f} of {run.config.options['steps']}", main_loss(last)])
        return rows

    def _state(self) -> bytes:
        rows = self.opened.metrics
        row = rows[-1] if rows else {}
        picture = self._newest()
        state = {
            "title": self._title(),
            "t": row.get("t", 0),
            "steps": self.opened.config.options["steps"],
            "row": {name: _json(value) for name, value in row.items()},
            "picture": "" if picture is None else f"picture?{quote(self.opened.path.name)}-{picture.stem}",
            "runs": self._runs(),
        }
        return json.dumps(state).encode()

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
