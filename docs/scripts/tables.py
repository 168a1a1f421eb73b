"""Write what the documentation takes from the code: tables of models, options and rooms, and the navigation.

    python docs/scripts/tables.py            # rewrite the pages
    python docs/scripts/tables.py --check    # say which pages differ, and exit with status 1

Each generated part lies between a line with ``generated: NAME`` and a line with ``end of NAME``, in a comment of the
file's language. A model's page, ``docs/models/NAME.md``, is written by hand but for its table of options.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrogen
from pyrogen.recipes import RECIPES, Recipe

ROOT = Path(__file__).parents[2]
FAMILIES = ("explicit", "implicit", "reconstruction")
LIKELIHOODS = ("exact", "lower bound", "none")


def ordered() -> list[Recipe]:
    """The recipes by family, then by kind of likelihood, then in the order of the registry."""
    return sorted(RECIPES.values(), key=lambda r: (FAMILIES.index(r.family), LIKELIHOODS.index(r.likelihood)))


def all_models() -> str:
    """The table of all models."""
    none = {"implicit": "none (kernel-density estimate)", "reconstruction": "none (reconstruction error)"}
    rows = ["| Model | Family | Description | Likelihood |", "|---|---|---|---|"]
    for r in ordered():
        likelihood = none.get(r.family, r.likelihood)
        rows.append(f"| [{r.name}]({r.name}.md) | {r.family} | {r.title} | {likelihood} |")
    return "\n".join(rows)


def index_models() -> str:
    """The list of model pages in the documentation's index, a line for each family."""
    lines = []
    for family in FAMILIES:
        links = ", ".join(f"[{r.name}](models/{r.name}.md)" for r in ordered() if r.family == family)
        lines.append(f"- {family.capitalize()} models: {links}")
    return "\n".join(lines)


def navigation() -> str:
    """The models in the navigation of the site."""
    return "\n".join(f"      - {r.name}: models/{r.name}.md" for r in ordered())


def rooms() -> str:
    """The rooms in the order of their imports, with the first paragraph of each one's docstring."""
    rows = ["| Package | Contents |", "|---|---|"]
    for name in pyrogen.ROOMS:
        first = (getattr(pyrogen, name).__doc__ or "").partition("\n\n")[0].strip().replace("``", "`")
        rows.append(f"| `pyrogen.{name}` | {' '.join(first.split())} |")
    return "\n".join(rows)


def options(recipe: Recipe) -> Callable[[], str]:
    """The table of a recipe's options."""

    def table() -> str:
        rows = ["| Option | Default | Limits | Meaning |", "|---|---|---|---|"]
        for option in recipe.options:
            meaning = option.meaning.replace("|", "\\|")
            rows.append(f"| `{option.name}` | `{option.default}` | {option.limits} | {meaning} |")
        return "\n".join(rows)

    return table


def parts() -> Iterator[tuple[Path, str, Callable[[], str]]]:
    """Every generated part: its file, its name and what makes it."""
    yield ROOT / "docs/models/index.md", "models", all_models
    yield ROOT / "docs/index.md", "models", index_models
    yield ROOT / "docs/mkdocs.yml", "models", navigation
    yield ROOT / "docs/index.md", "rooms", rooms
    yield ROOT / "docs/design.md", "rooms", rooms
    for recipe in RECIPES.values():
        yield ROOT / f"docs/models/{recipe.name}.md", "options", options(recipe)


def rewritten(text: str, name: str, content: str) -> str | None:
    """The text with its part ``name`` replaced; ``None`` if it has no such part."""
    pattern = rf"(?P<begin>[^\n]*generated: {name}\b[^\n]*\n).*?(?P<end>[^\n]*end of {name}\b)"
    gap = "\n" if "<!--" in text else ""  # Markdown wants an empty line between a comment and a table
    found, n = re.subn(pattern, lambda m: f"{m['begin']}{gap}{content}\n{gap}{m['end']}", text, flags=re.DOTALL)
    return found if n == 1 else None


def main() -> int:
    """Rewrite or check every part; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with status 1 if a page differs")
    check = parser.parse_args().check
    faults = []
    for path, name, make in parts():
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = rewritten(text, name, make())
        if wanted is None:
            faults.append(f"{path.relative_to(ROOT)} has no part `generated: {name}`: write the page with one")
        elif wanted != text and check:
            faults.append(f"{path.relative_to(ROOT)} differs: run `python docs/scripts/tables.py`")
        elif wanted != text:
            path.write_text(wanted, encoding="utf-8")
    print(*faults, sep="\n", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
