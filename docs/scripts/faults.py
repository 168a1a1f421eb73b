"""Make the writes of a run fail on a small disk of its own, and continue it: as root, ``--help``.

Each trial trains, compares or samples in a forked process on a tmpfs. Just before one kind of file is written, the disk
becomes full, has no inodes left or is read-only, or the process reaches its limit on the size of a file. It must end
with status 2 and one message that names the file, the checkpoints there must be whole, and afterwards the same command,
or ``resume``, must end as if nothing had happened: with bit-identical weights.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load_file

import pyrogen
from pyrogen.cli import main as command_line

TRAIN = ("train", "vae", "--steps", 60, "--batch-size", 64, "--set", "hidden=8", "--set", "latent=2", "--out")
COMPARE = ("compare", "gaussian", "--steps", 20, "--batch-size", 64, "--features", "values", "--out")
OUTPUTS = {
    "checkpoint": (".new-", 4),
    "metrics": ("metrics.jsonl", 1),
    "picture": ("samples/.", 2),
    "report": (".report.html", 1),
    "samples": (".new.npy", 1),
}
"""What a path contains that is about to be made or opened, and at which time the fault comes."""


def full(disk: Path) -> None:
    """Leave no byte."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def no_inodes(disk: Path) -> None:
    """Leave no inode."""
    (disk / "inodes").mkdir()
    with suppress(OSError):
        for i in range(10**6):
            (disk / "inodes" / str(i)).touch()


def read_only(disk: Path) -> None:
    """Cover the folder by itself, read-only; files that are open stay as they are."""
    subprocess.run(["mount", "--bind", disk / "run", disk / "run"], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", disk / "run"], check=True)


def limit(disk: Path) -> None:
    """Allow no file above 100 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))


FAULTS: dict[str, Callable[[Path], None]] = {f.__name__: f for f in (full, no_inodes, read_only, limit)}


def repair(disk: Path) -> None:
    """Undo a fault."""
    subprocess.run(["umount", disk / "run"], check=False, stderr=subprocess.DEVNULL)
    (disk / "filler").unlink(missing_ok=True)
    subprocess.run(["rm", "-rf", disk / "inodes"], check=True)


def run(*arguments: object, before: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """The status and standard error of a command in a forked process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.dup2(writer, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["pyrogen", *map(str, arguments)]
        status = 1
        try:
            before()
            command_line()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        error = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), error


def at_output(output: str, fault: Callable[[Path], None], disk: Path) -> None:
    """Let the fault come when the output is about to be written."""
    name, times = OUTPUTS[output]
    left = times

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in ("open", "os.mkdir") and name in str(arguments[0]) and left > 0:
            left -= 1
            if left == 0:
                fault(disk)

    sys.addaudithook(hook)


def trial(output: str, fault: str, disk: Path, reference: Path) -> str | None:
    """What is wrong after one fault; ``None`` if nothing is."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,nr_inodes=400", "tmpfs", disk], check=True)
    try:
        folder = disk / "run"
        begin: tuple[object, ...] = (*(COMPARE if output == "report" else TRAIN), folder)
        again: tuple[object, ...] = ("resume", folder)
        if output == "samples":
            assert run(*begin)[0] == 0
            begin = again = ("sample", folder, "--n", 500, "--out", folder / "new.npy")
        status, error = run(*begin, before=lambda: at_output(output, FAULTS[fault], disk))
        message = error.splitlines()[-1] if error else ""
        if status != 2 or "Traceback" in error or not message.startswith(f"pyrogen: cannot write {folder}"):
            return f"status {status}: {error}"
        if fault != "read_only" and "bytes needed" not in message:
            return message
        print(f"{output}, {fault}: {message}", file=sys.stderr)
        repair(disk)
        if list(folder.glob("checkpoint-*")):
            pyrogen.restore(folder)  # raises unless the newest is whole
        status, error = run(*again)
        if status:
            return f"afterwards: {error}"
        single = folder, reference / "run"
        paths = (folder / "gaussian", reference / "report" / "gaussian") if output == "report" else single
        weights, expected = (load_file(max(p.glob("checkpoint-*")) / "weights.safetensors") for p in paths)
        if not all(torch.equal(weights[name], tensor) for name, tensor in expected.items()):
            return "other weights"
        left = [path for path in disk.rglob(".*") if path.name != ".lock"]
        return f"left: {left}" if left else None
    finally:
        repair(disk)
        subprocess.run(["umount", "--lazy", disk], check=True)  # tensors that were read are mapped


def main() -> None:
    """Try every fault at every output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder, under which the disk is mounted")
    folder = parser.parse_args().folder.resolve()
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    (folder / "disk").mkdir()
    assert run(*TRAIN, folder / "run")[0] == 0
    assert run(*COMPARE, folder / "report")[0] == 0
    wrong = {}
    for output in OUTPUTS:
        for fault in FAULTS:
            found_wrong = trial(output, fault, folder / "disk", folder)
            if found_wrong:
                wrong[f"{output}, {fault}"] = found_wrong
    trials = len(OUTPUTS) * len(FAULTS)
    print(json.dumps({"trials": trials, "passed": trials - len(wrong), "wrong": wrong}, indent=1))


if __name__ == "__main__":
    main()
