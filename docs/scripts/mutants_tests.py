"""Run tests in forks of this process: which of them execute which lines, and whether one fails."""

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

MEMORY = 8 << 30
"""Bytes of data that a mutant may hold: a mutated size must not take the machine with it."""
Covered = dict[str, dict[int, list[str]]]


class Watch:
    """A plugin of pytest: how long each test takes, and which test fails first.

    Args:
        enter: called with the name of each test before it runs.
    """

    def __init__(self, enter: Callable[[str], Any] = lambda name: None) -> None:
        self.enter = enter
        self.seconds: Counter[str] = Counter()
        self.failed: list[str] = []

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self.enter(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A phase of a test has ended."""
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def enter(tree: Path) -> None:
    """Make this process one that runs the tests of ``tree``."""
    os.setsid()
    os.chdir(tree)
    log = os.open(tree.parent / "log.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    sys.path[:0] = [str(tree), str(tree / "tests")]
    os.environ |= {"PYTHONPATH": f"{tree}:{tree / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ.pop("PYROGEN_DATA", None)  # a mutant must not write there


def in_fork(tree: Path, work: Callable[[], Any], seconds: float) -> Any:
    """What ``work`` returns in a fork that works in ``tree``; ``None`` if it takes longer than ``seconds``."""
    answer = tree.parent / "answer.json"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        try:
            enter(tree)
            answer.write_text(json.dumps(work()))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)  # the parent's temporary folder is not this process's to remove
    deadline = time.monotonic() + seconds
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # with what the tests have started
    if not ended[0]:
        os.waitpid(child, 0)
        return None
    return json.loads(answer.read_text()) if answer.exists() else {"code": -1, "failed": ["the process died"]}


def pytest_main(tests: list[str], watch: Watch, *options: str) -> int:
    """Run tests in this process, in the order given."""
    import pytest

    fixed = [
        "-q",
        "-m",
        "not slow",
        "-o",
        "addopts=",
        "--import-mode=importlib",
        "--hypothesis-seed=0",
        "-p",
        "no:xdist",
    ]
    fixed += [
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]  # hypothesis is imported already
    fixed += ["--basetemp", str(Path.cwd().parent / "pytest")]
    return int(pytest.main([*fixed, *options, *tests], plugins=[watch]))


def traced(tree: Path, files: list[str], tests: list[str]) -> tuple[Covered, dict[str, float]]:
    """The tests that run each line of ``files``, and how many seconds each test takes.

    Tests that stop processes of their own are left out: they take long, and run the lines elsewhere.
    """
    data = tree.parent / "coverage"

    def work() -> Any:
        import coverage

        cover = coverage.Coverage(data_file=str(data), include=[str(tree / f) for f in files], config_file=False)
        cover.start()
        watch = Watch(cover.switch_context)
        code = pytest_main(tests, watch, "-k", "not (signal or kill or other_library)")
        cover.stop()
        cover.save()
        return {"code": code, "failed": watch.failed, "seconds": dict(watch.seconds)}

    ended = in_fork(tree, work, 3600)
    if not ended or ended["code"] not in (0, 1):
        raise SystemExit((tree.parent / "log.txt").read_text()[-3000:] + "\nthe tests do not run without a mutant")
    for name in ended["failed"]:
        print(f"left out, since it fails without a mutant: {name}", flush=True)
    import coverage

    found = coverage.CoverageData(str(data))
    found.read()
    lines = {f: found.contexts_by_lineno(str(tree / f)) for f in files}
    failed = set(ended["failed"])
    return {f: {n: [*set(names) - failed] for n, names in by.items()} for f, by in lines.items()}, ended["seconds"]
