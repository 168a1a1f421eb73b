"""Run chapters of the course as notebooks, and keep what the site shows: their pictures and what they print.

    OMP_NUM_THREADS=1 python docs/scripts/course.py             # every chapter
    OMP_NUM_THREADS=1 python docs/scripts/course.py 06_vae      # one of them

Pictures go to ``docs/images/course``, with 128 colours each; the printed text of every code cell to
``docs/course/printed.json``.
"""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import jupytext
from nbclient import NotebookClient
from PIL import Image

COURSE = Path(__file__).parent.parent / "course"
PRINTED = COURSE / "printed.json"
PICTURES = COURSE.parent / "images" / "course"


def printed(chapter: Path, folder: Path) -> list[str]:
    """Run a chapter as a notebook in ``folder``: what each of its code cells printed."""
    notebook = jupytext.read(chapter)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return [
        "".join(output["text"] for output in cell["outputs"] if output.get("name") == "stdout")
        for cell in notebook.cells
        if cell["cell_type"] == "code"
    ]


def keep(picture: Path) -> None:
    """Write a picture with few colours beside those of the other chapters."""
    with Image.open(picture) as image:
        image.convert("RGB").quantize(128).save(PICTURES / picture.name, optimize=True)


if __name__ == "__main__":
    os.environ.pop("PYROGEN_SMOKE", None)
    texts = json.loads(PRINTED.read_text(encoding="utf-8")) if PRINTED.exists() else {}
    PICTURES.mkdir(parents=True, exist_ok=True)
    for chapter in sorted(COURSE.glob("*.py")):
        if sys.argv[1:] and chapter.stem not in sys.argv[1:]:
            continue
        begin = perf_counter()
        with TemporaryDirectory() as folder:
            texts[chapter.stem] = printed(chapter, Path(folder))
            for picture in sorted(Path(folder, "runs", "course").glob("*.png")):
                keep(picture)
        print(f"{chapter.stem}: {perf_counter() - begin:.0f} s", flush=True)
        PRINTED.write_text(json.dumps(texts, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
