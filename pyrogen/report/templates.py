"""Self-contained HTML pages: what is inserted is escaped, one script is allowed by its hash, and nothing is loaded."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from pyrogen.errors import printable


def render_page(
    package: str,
    template: str,
    *,
    script: str | None = None,
    filters: Mapping[str, Callable[..., Any]] | None = None,
    tests: Mapping[str, Callable[..., bool]] | None = None,
    **shown: Any,
) -> bytes:
    """Render a page, in UTF-8.

    Args:
        package: whose folder holds the files; ``base.css`` and ``head.html`` are those of all.
        template: the file of the template.
        script: the file of the script, if there is one.
        filters, tests: further filters and tests of the template.
        shown: what the template shows.
    """
    from jinja2 import Environment, FunctionLoader  # training imports this room and writes no page

    folders = [files(package), files("pyrogen.report")]

    def read(name: str) -> str:
        return next(file for folder in folders if (file := folder.joinpath(name)).is_file()).read_text("utf-8")

    environment = Environment(loader=FunctionLoader(read), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters or {}
    environment.tests |= tests or {}
    source = read(script) if script else ""
    page = environment.get_template(template).render(
        **shown,
        script=source,
        script_hash=b64encode(sha256(source.encode()).digest()).decode(),
        now=datetime.now(UTC),
        version=installed_version(),
    )
    return "\n".join(map(printable, page.split("\n"))).encode()  # names may hold any character


def data_url(content: bytes, kind: str) -> str:
    """A URL that holds its own content."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


def installed_version() -> str:
    """The version of pyrogen."""
    try:
        return version("pyrogen")
    except PackageNotFoundError:  # run from a source checkout
        return "(not installed)"
