"""Fuzz the readers of data and the command line, and print a table of what became of the inputs.

    python docs/scripts/fuzz.py --minutes 10                             # for each target
    python docs/scripts/fuzz.py --only csv --first SEED --cases 1        # one input again

``tests/fuzzing.py`` says what the inputs are; the test suite runs a few of each target.
"""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).parents[2] / "tests" / "fuzzing.py"), run_name="__main__")
