"""Look up known vulnerabilities of what pyrogen needs, as installed here, and fail if any package is not looked up.

    python docs/scripts/audit.py             # needs network, and pip-audit (pip install pip-audit)
    python docs/scripts/audit.py --service pypi

``pip-audit`` ends with status 0 although it skips a package, which it does where the index does not answer for a
version: one with a local suffix such as ``2.14.1+cu130``, or all of them where the index is a mirror without
advisories. Here suffixes are left out, and a package that is skipped or missing from the answer is a failure, as is a
service that cannot be reached.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAME = re.compile(r"[A-Za-z0-9._-]+")


def normal(name: str) -> str:
    """A name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(root: str) -> dict[str, str]:
    """What ``root`` needs directly and indirectly, with versions as published; extras that are installed too."""
    found: dict[str, str] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        for text in requires(name) or []:
            match = NAME.match(text)
            needed = normal(match[0]) if match else ""
            if needed in found or needed == normal(root):
                continue
            try:
                found[needed] = version(needed).split("+")[0]
            except PackageNotFoundError:
                continue  # an extra, or for another system
            waiting.append(needed)
    return found


def faults(wanted: Mapping[str, str], answer: Mapping[str, Any]) -> list[str]:
    """What is wrong according to an answer of pip-audit, and which of the wanted packages it does not tell of."""
    told = {normal(one["name"]): one for one in answer.get("dependencies", [])}
    wrong = []
    for name, published in sorted(wanted.items()):
        one = told.get(name, {"skip_reason": "it is not in the answer"})
        if "skip_reason" in one:
            wrong.append(f"{name} {published} was not looked up: {one['skip_reason']}")
        for found in one.get("vulns", []):
            fixed = ", ".join(found.get("fix_versions", [])) or "no version"
            wrong.append(f"{name} {published}: {found['id']}, fixed in {fixed}")
    return wrong


def main() -> None:
    """Print every fault and a count; the status is 1 if there is a fault."""
    options = argparse.ArgumentParser(description="Look up known vulnerabilities.")
    options.add_argument("--service", choices=("osv", "pypi"), default="osv")
    given = options.parse_args()
    wanted = installed("pyrogen")
    if not wanted:
        sys.exit("expected the requirements of an installed pyrogen, found none")
    with TemporaryDirectory() as folder:
        pins, output = Path(folder, "pins.txt"), Path(folder, "answer.json")
        pins.write_text("".join(f"{name}=={published}\n" for name, published in wanted.items()))
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--no-deps", "--disable-pip"]
        command += ["--vulnerability-service", given.service, "--format", "json", "--output", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not output.exists():
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            sys.exit(f"nothing was looked up (pip-audit ended with status {done.returncode}): {last}")
        wrong = faults(wanted, json.loads(output.read_text()))
    print("\n".join([*wrong, f"{len(wanted)} packages, {len(wrong)} faults"]))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
