"""The scripts of docs/from_pyro.md give Pyro's losses with Pyro's import and with pyrogen's: one line differs."""

from pathlib import Path

import pyro
import pytest
from check_types import python_of

PAGE = Path(__file__).parents[2] / "docs" / "from_pyro.md"
OURS, THEIRS = "from pyrogen import SVI  # instead of: from pyro.infer import SVI\n", "from pyro.infer import SVI\n"


def printed(source: str, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """The last loss of each script, by its name."""
    pyro.clear_param_store()
    exec(compile(source, PAGE.name, "exec"), {"__name__": "__main__"})
    pyro.clear_param_store()
    return {name: float(loss) for name, loss in map(str.split, capsys.readouterr().out.splitlines())}


def test_three_scripts_of_pyro_move_by_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    source = python_of(PAGE).split("import pyrogen\n")[0]
    assert source.count(OURS) == 1
    found, expected = printed(source, capsys), printed(source.replace(OURS, THEIRS), capsys)
    assert found.keys() == {"coin", "regression", "vae"}
    assert found == pytest.approx(expected, rel=1e-6)
