"""Print the least versions that ``pyproject.toml`` declares, as pins, to test once what runs with them.

python -m venv .lowest && python docs/scripts/lowest.py > lowest.txt
uv pip install --python .lowest/bin/python --resolution lowest-direct -r lowest.txt
.lowest/bin/python -m pytest -n 2 tests/data tests/cli tests/recipes tests/steps tests/training tests/report
"""

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
TOOLS = ("pyarrow", "pandas", "pytest", "hypothesis", "pytest-timeout", "pytest-xdist", "torchmetrics")
"""What the tests need of the extra ``test``."""


def pins() -> list[str]:
    """``name==version`` for every dependency and tool of the tests."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = [text for text in project["optional-dependencies"]["test"] if text.split(">")[0] in TOOLS]
    return [re.sub(r">=([\d.]+).*", r"==\1", text) for text in (*project["dependencies"], *extras)]


if __name__ == "__main__":
    print("\n".join(pins()))
