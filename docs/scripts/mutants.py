"""Mutation testing: how many small faults in a room its tests notice.

    python docs/scripts/mutants.py measure --sample 120 --seed 0
    python docs/scripts/mutants.py training/checkpoint --all

Needs the extra ``mutation``. ``docs/testing.md`` says which mutants are made, what they cannot show, and the results.

The mutants are those of mutmut (its operators, one change each). Mutmut's own runner does not fit: it mutates no
decorated function, and every recipe is decorated; and it replaces a function by one that calls a copy, so that
``inspect.signature``, which is the configuration of a recipe, and the code that the compiler fingerprints are not those
of the source. Here a mutant is the file itself, rewritten in a copy of the repository. Torch and Pyro are imported
once, and each mutant runs in a fork.
"""

import argparse
import compileall
import difflib
import gc
import importlib
import json
import math
import os
import py_compile
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from mutants_source import Mutant, mutants  # noqa: E402
from mutants_tests import Covered, Watch, in_fork, pytest_main, traced  # noqa: E402

TESTS = {
    "objectives": "objectives steps",
    "measure": "measure explicit/test_frequencies.py",
    "steps": "steps objectives/test_elbo.py training/test_checkpoint.py pyro_tools",
    "training/checkpoint": (
        "training/test_checkpoint.py training/test_checkpoint_state.py training/test_checkpoint_damage.py "
        "training/test_golden.py steps/test_state.py"
    ),
    "hybrid": "hybrid",
    "recipes": "recipes hybrid test_readme.py::test_generated_tables_are_those_of_the_registry",
    "data": "data training/test_loop.py test_float64.py explicit/test_cvae.py",
}
"""The tests that are tried on the mutants of a room: those of them that run the mutated line."""
ALWAYS = {"recipes": "tests/test_readme.py::test_generated_tables_are_those_of_the_registry"}
"""A test that is tried on every mutant of a room: what it looks at is made when the room is imported."""
LIBRARIES = (
    *(
        "torch",
        "torchvision",
        "pyro",
        "pyro.infer.autoguide",
        "numpy",
        "scipy.stats",
        "sklearn.neighbors",
        "sklearn.datasets",
    ),
    *(
        "sklearn.mixture",
        "sklearn.linear_model",
        "matplotlib.pyplot",
        "hypothesis",
        "pytest",
        "safetensors.torch",
        "typer",
    ),
    *("rich.table", "jinja2", "coverage", "torch._dynamo", "PIL.Image"),
)
"""Imported once, before the first fork; what of them is missing is left to the tests."""


def reaching(
    mutant: Mutant, covered: Covered, seconds: dict[str, float], budget: float, always: str | None
) -> list[str]:
    """The tests that run the mutated lines, the fastest first, as many as fit into ``budget`` seconds.

    Lines that run only while tests are collected (in no test, so under the name "") count for all tests of the file.
    """
    found = {test for line, tests in covered[mutant.file].items() if line in mutant.lines for test in tests}
    if found == {""}:
        found = {test for tests in covered[mutant.file].values() for test in tests}
    chosen, total = [], 0.0
    for test in sorted(found - {""}, key=lambda test: seconds[test]):
        total += seconds[test]
        if total > budget:
            break
        chosen.append(test)
    return [*chosen, always] if always in seconds and always not in chosen else chosen


def judged(tree: Path, mutant: Mutant, tests: list[str], seconds: float) -> tuple[str, str]:
    """``killed``, ``timeout`` or ``survived``, and the test that failed."""
    if not tests:
        return "survived", "no test runs this line"
    path = tree / mutant.file
    source = path.read_text()

    def work() -> Any:
        watch = Watch()
        code = pytest_main(tests, watch, "-x", "--tb=no")
        return {"code": code, "failed": watch.failed}

    try:
        path.write_text(mutant.code)
        ended = in_fork(tree, work, seconds)
    finally:
        path.write_text(source)
    if ended is None:
        return "timeout", ""
    return ("killed", (ended["failed"] or ["import"])[0]) if ended["code"] else ("survived", f"{len(tests)} tests")


def interval(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion."""
    z, p = 1.959964, k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def copied(folder: Path) -> Path:
    """A copy of the repository: its tracked files and those that git does not ignore."""
    tree = folder / "tree"
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    compileall.compile_dir(tree / "pyrogen", quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return tree


def rows(room: str, asked: argparse.Namespace, tree: Path) -> Iterator[dict[str, Any]]:
    """The outcome of each mutant of a room, one after another."""
    base = ROOT / "pyrogen" / room
    paths = [base.with_suffix(".py")] if base.with_suffix(".py").is_file() else sorted(base.glob("*.py"))
    every = [m for path in paths if asked.only in path.name for m in mutants(ROOT, path)]
    chosen = every if asked.all else random.Random(asked.seed).sample(every, min(asked.sample, len(every)))
    print(f"{room}: {len(every)} mutants in {len(paths)} files, {len(chosen)} tried", flush=True)
    tests = [f"tests/{name}" for name in (asked.tests or TESTS[room]).split()]
    files = sorted({m.file for m in chosen})
    covered, seconds = traced(tree, files, tests)
    for i, mutant in enumerate(chosen):
        reach = reaching(mutant, covered, seconds, asked.budget, ALWAYS.get(room))
        limit = asked.patience + 5 * sum(seconds[test] for test in reach)
        start = time.perf_counter()
        outcome, by = judged(tree, mutant, reach, limit)
        took = time.perf_counter() - start
        row = {"room": room, "file": mutant.file, "line": mutant.line, "outcome": outcome, "by": by, "seconds": took}
        row["diff"] = difference(tree / mutant.file, mutant.code)
        if outcome == "survived":
            print(f"[{i + 1}] survived {mutant.file}:{mutant.line} ({by})\n{row['diff']}", flush=True)
        yield row


def difference(path: Path, code: str) -> str:
    """The changed lines alone."""
    lines = difflib.unified_diff(path.read_text().splitlines(), code.splitlines(), n=0, lineterm="")
    return "\n".join("    " + line for line in list(lines)[2:] if not line.startswith("@@"))


def main() -> None:
    """Try the mutants of each room that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("rooms", nargs="*", default=list(TESTS), help=f"of {', '.join(TESTS)} (all)")
    parser.add_argument("--sample", type=int, default=120, help="mutants of each room, drawn at random")
    parser.add_argument("--all", action="store_true", help="every mutant: hours")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", help="files whose names hold this")
    parser.add_argument("--tests", default="", help="files and folders under tests/, in place of the room's own")
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of tests tried on one mutant")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds added to a mutant's limit")
    parser.add_argument("--out", type=Path, help="a file for the outcome of each mutant, one JSON object a line")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in LIBRARIES:
        with suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.freeze()  # what is imported is not collected again in each fork
    table = []
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        for room in asked.rooms:
            counts: Counter[str] = Counter()
            for row in rows(room, asked, tree):
                counts[row["outcome"]] += 1
                if asked.out:
                    with asked.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            table.append((room, counts))
    print("| room | mutants | killed | timeouts | survived | noticed | 95% interval |\n|---|---|---|---|---|---|---|")
    for room, counts in table:
        n, noticed = counts.total(), counts["killed"] + counts["timeout"]
        low, high = interval(noticed, n)
        cells = (room, n, counts["killed"], counts["timeout"], counts["survived"], f"{noticed / n:.0%}")
        print("|", " | ".join(map(str, cells)), f"| {low:.0%} to {high:.0%} |")


if __name__ == "__main__":
    main()
