"""Check the types of what users write: the examples, and the Python blocks of the README and the documentation.

    python tests/check_types.py

mypy in strict mode and pyright (as basedpyright, whose wheel needs no download) read them beside ``tests/typed``:
``accepted.py`` must pass, and of ``refused.py`` exactly the lines marked ``# error`` must fail.

The blocks of a page are one module, as they run: each line of code stands at its line of the page, so an error in
``docs_training.py:30`` is in line 30 of ``docs/training.md``.
"""

import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TYPED = ROOT / "tests" / "typed"

MYPY = """
[mypy]
strict = true
# Pyro's decorators, such as config_enumerate, have no annotations.
disallow_untyped_decorators = false
python_version = 3.11
allow_redefinition = true
untyped_calls_exclude = pyro, torch

# The library itself is checked apart.
[mypy-pyrogen.*]
follow_imports = silent

[mypy-sklearn.*]
ignore_missing_imports = true
"""
# Most of Pyro has no annotations: what it returns is unknown to a strict checker, and so is what is made of that.
PYRIGHT = {
    "typeCheckingMode": "strict",
    "pythonVersion": "3.11",
    "extraPaths": [str(ROOT)],
    **dict.fromkeys((f"reportUnknown{what}Type" for what in ("Argument", "Lambda", "Member", "Variable")), False),
    **dict.fromkeys(("reportMissingTypeStubs", "reportUntypedFunctionDecorator"), False),
}


def python_of(page: Path) -> str:
    """The Python blocks of a page as one module whose lines are where the page has them."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        kind, body = block.groups()
        if kind == "python":
            first = text[: block.start(2)].count("\n")
            lines[first : first + body.count("\n")] = body.splitlines()
    return "\n".join(lines).rstrip() + "\n"


def collect(folder: Path) -> None:
    """Write all that is checked into ``folder``, a module each."""
    for page in PAGES:
        if (code := python_of(page)).strip():
            name = "_".join(page.relative_to(ROOT).with_suffix("").parts).replace("-", "_")
            (folder / f"{name}.py").write_text(code, encoding="utf-8")
    for kind, where in (("example", ROOT / "examples"), ("typed", TYPED)):
        for path in where.glob("*.py"):
            (folder / f"{kind}_{path.name}").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")


def mypy_errors(folder: Path) -> list[tuple[str, int, str]]:
    """What mypy reports: file, line and message."""
    (folder / "mypy.ini").write_text(MYPY)
    command = ["mypy", "--config-file", "mypy.ini", "--no-error-summary", "--hide-error-context", "."]
    done = _run([sys.executable, "-m", *command], folder)
    found = re.findall(r"^(?:\./)?([\w./]+\.py):(\d+): error: (.*)$", done, re.MULTILINE)
    if not found and done.strip():
        raise SystemExit(done)
    return [(file, int(line), message) for file, line, message in found]


def pyright_errors(folder: Path) -> list[tuple[str, int, str]]:
    """What pyright reports: file, line and message."""
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    command = ["basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    report = json.loads(_run([sys.executable, "-m", *command], folder))
    return [
        (Path(d["file"]).name, d["range"]["start"]["line"] + 1, f"{d['message']}  [{d.get('rule', '')}]")
        for d in report["generalDiagnostics"]
        if d["severity"] in ("error", "warning")
    ]


def _run(command: list[str], folder: Path) -> str:
    env = {"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout or done.stderr


def faults(checker: str, found: list[tuple[str, int, str]]) -> list[str]:
    """Errors that should not be, and missing ones that should."""
    marked = (TYPED / "refused.py").read_text(encoding="utf-8").splitlines()
    expected = {number for number, line in enumerate(marked, 1) if "# error" in line}
    refused = {line for file, line, _ in found if file == "typed_refused.py"}
    wrong = [f"{checker}: {f}:{n}: {m}" for f, n, m in found if f != "typed_refused.py" or n not in expected]
    missing = [f"{checker}: tests/typed/refused.py:{n}: no error" for n in sorted(expected - refused)]
    return wrong + missing


def main() -> None:
    """Check, print what is wrong, and exit with 1 if anything is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        collect(folder)
        files = len(list(folder.glob("*.py")))
        with ThreadPoolExecutor() as pool:  # one processor each
            mypy, pyright = pool.submit(mypy_errors, folder), pool.submit(pyright_errors, folder)
        wrong = faults("mypy", mypy.result()) + faults("pyright", pyright.result())
    print(*wrong, sep="\n" if wrong else "")
    print(f"{files} files, {len(wrong)} faults")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
