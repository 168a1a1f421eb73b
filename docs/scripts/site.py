"""Hooks of mkdocs: a page and a notebook of every chapter of the course, with its pictures and what it printed."""

import json
import re
from pathlib import Path
from typing import Any

import jupytext
from mkdocs.structure.files import File, Files, InclusionLevel

COURSE = Path(__file__).parent.parent / "course"
SAVED = re.compile(r'savefig\(OUT / "(\w+)\.png"')


def page(name: str, notebook: Any, printed: list[str]) -> str:
    """A chapter as Markdown: the text, the code, and under a cell what it printed and the pictures that it saved."""
    title, _, rest = notebook.cells[0].source.partition("\n")
    parts = [title, f"[Download the notebook]({name}.ipynb) or [the script]({name}.py).", rest]
    outputs = iter(printed)
    for cell in notebook.cells[1:]:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        if text := next(outputs):
            parts.append(f'```text title="Output"\n{text.rstrip()}\n```')
        parts += [f"![{picture}](../images/course/{picture}.png)" for picture in SAVED.findall(cell.source)]
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: Any) -> Files:
    """Add the page and the notebook of each chapter."""
    texts = json.loads((COURSE / "printed.json").read_text(encoding="utf-8"))
    for chapter in sorted(COURSE.glob("*.py")):
        name, notebook = chapter.stem, jupytext.read(chapter)
        for suffix, content in (
            ("md", page(name, notebook, texts[name])),
            ("ipynb", jupytext.writes(notebook, fmt="ipynb")),
        ):
            made = File.generated(config, f"course/{name}.{suffix}", content=content, inclusion=InclusionLevel.INCLUDED)
            files.append(made)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to the scripts of chapters, as they are read in the repository, lead to the pages."""
    if page.file.generated_by:  # a chapter, which offers its script
        return markdown
    return re.sub(r"\]\(((?:course/)?\d\d_\w+)\.py\)", r"](\1.md)", markdown)
