"""Pyro's own tests as the judge of pyrogen's compiled losses and of its SVI.

    python docs/scripts/pyro_suite.py /path/to/pyro --with stock --out stock.json
    python docs/scripts/pyro_suite.py /path/to/pyro --with compiled --out compiled.json
    python docs/scripts/pyro_suite.py --compare stock.json compiled.json

Needs a checkout of pyro-ppl/pyro, of which only the tests are used. ``docs/testing.md`` says what each way shows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = ("gradient", "inference", "svi", "autoguide", "valid_models", "multi_sample_elbos", "enum", "jit", "predictive")
FILES = [*(f"tests/infer/test_{name}.py" for name in NAMES), "tests/nn/test_module.py"]
JIT = "`torch.jit.trace"  # and trace_method: both are said to be deprecated
GOOD = ("passed", "skipped", "xfailed")


def slow(asked: argparse.Namespace) -> list[str]:
    """The tests that took longer than ``--below`` seconds in an earlier run."""
    if asked.below is None:
        return []
    return [name for name, row in flat(asked.before).items() if row["seconds"] > asked.below]


def run_file(checkout: Path, file: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The outcome of each test of a file, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows"
        environment = os.environ | {
            "PYROGEN_JUDGE": getattr(asked, "with"),
            "PYROGEN_JUDGE_OUT": str(out),
            "PYROGEN_JUDGE_CODE": asked.code,
            "PYROGEN_JUDGE_LEFT_OUT": json.dumps(slow(asked)),
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-m", "pytest", file, "-q", "-x" if asked.exit_first else "--tb=short"]
        command += ["-W", f"ignore:{JIT}:FutureWarning"]  # Pyro's tests take every other warning for an error
        command += ["-p", "pyro_suite_plugin", "-p", "no:cacheprovider", f"--timeout={asked.timeout}"]
        command += ["-k", asked.k] if asked.k else []
        start = time.perf_counter()
        done = subprocess.run(command, cwd=checkout, env=environment, text=True, capture_output=True)
        seconds = time.perf_counter() - start
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    tests = {row.pop("test"): row for row in rows if "test" in row}
    about: dict[str, Any] = next((row for row in rows if "test" not in row), {})
    if done.returncode not in (0, 1, 5):  # 1: some failed; 5: none was chosen
        print(done.stdout[-3000:], done.stderr[-3000:])
    return {"seconds": round(seconds, 1), "returned": done.returncode, **about, "tests": tests}


def line(file: str, found: dict[str, Any]) -> str:
    """A file's outcomes as a row of a table."""
    tests = found["tests"].values()
    count = Counter(row["outcome"] for row in tests)
    graph, eager = (sum(row.get(kind, 0) for row in tests) for kind in ("graph", "eager"))
    ended = "" if found["returned"] in (0, 1, 5) else f" (pytest ended with {found['returned']})"
    outcomes = " | ".join(str(count[kind]) for kind in ("passed", "failed", "skipped", "xfailed"))
    return f"| {file}{ended} | {outcomes} | {graph} | {eager} | {found['seconds']:.0f} |"


def judge(asked: argparse.Namespace) -> None:
    """Run the files one after the other and save after each."""
    print("| file | passed | failed | skipped | expected to fail | losses by graph | eagerly | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    files: dict[str, Any] = {}
    for file in asked.files or FILES:
        if not (asked.checkout / file).exists():
            print(f"| {file}: not in this checkout |")
            continue
        files[file] = run_file(asked.checkout, file, asked)
        print(line(file, files[file]), flush=True)
        if asked.out:
            saved = {"with": getattr(asked, "with"), "code": asked.code, "files": files}
            asked.out.write_text(json.dumps(saved, indent=1))


def flat(path: Path) -> dict[str, dict[str, Any]]:
    """All tests of a saved run, by name."""
    return {
        name: row for found in json.loads(path.read_text())["files"].values() for name, row in found["tests"].items()
    }


def compare(stock: Path, ours: Path) -> int:
    """Print the tests that Pyro's classes pass and ours fail; return how many there are."""
    expected, found = flat(stock), flat(ours)
    both = expected.keys() & found.keys()
    lost = [n for n in sorted(both) if expected[n]["outcome"] in GOOD and found[n]["outcome"] not in GOOD]
    won = [n for n in sorted(both) if expected[n]["outcome"] not in GOOD and found[n]["outcome"] == "passed"]
    for name in lost:
        print(f"{name}\n    {found[name].get('why', '').strip().splitlines()[:1]}")
    passes = sum(expected[n]["outcome"] == "passed" for n in both)
    print(f"\n{len(both)} tests in both, {passes} pass with Pyro's classes; {len(lost)} of these fail with ours.")
    if won:
        print(f"{len(won)} fail with Pyro's classes and pass with ours: {', '.join(won)}")
    if expected.keys() - found.keys():
        print(f"{len(expected.keys() - found.keys())} were not run with ours.")
    reasons = Counter(why for n in both for why in found[n].get("refused", []))
    for why, times in reasons.most_common():
        print(f"ran eagerly in {times} tests: {why}")
    return len(lost)


def main() -> None:
    """Run, or compare two runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, nargs="?", help="a checkout of pyro-ppl/pyro")
    parser.add_argument(
        "files", nargs="*", help="test files, relative to the checkout; by default the ten files of docs/testing.md"
    )
    parser.add_argument("--with", choices=["stock", "compiled", "svi", "svi-compiled"], default="stock")
    parser.add_argument("--code", choices=["inductor", "nodes"], default="inductor", help="how traced graphs run")
    parser.add_argument("-k", help="pytest's -k expression")
    parser.add_argument("--before", type=Path, help="the JSON file of an earlier run")
    parser.add_argument("--below", type=float, help="leave out tests that took more seconds in the earlier run")
    parser.add_argument("--exit-first", action="store_true", help="stop a file at its first failure")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for one test")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("STOCK", "OURS"))
    asked = parser.parse_args()
    if asked.compare:
        sys.exit(compare(*asked.compare) > 0)
    if asked.checkout is None or (asked.below is not None and asked.before is None):
        parser.error("give a checkout, or --compare; --below goes with --before")
    judge(asked)


if __name__ == "__main__":
    main()
