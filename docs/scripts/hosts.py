"""Two hosts, as network namespaces with a cable between them, train one run; a process of one is killed and restarted.

    python docs/scripts/hosts.py --steps 3000 --kills 2        # as root, on Linux

Each host has its own ``torchrun`` with a rendezvous at the first. After each kill both restart their process, and the
run goes on from its newest checkpoint. In the end the run must have all its steps, each logged once.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pyrogen

ADDRESS = "10.231.77"


def ip(*words: str) -> None:
    """Run ``ip`` with these arguments."""
    subprocess.run(["ip", *words], check=True)


def connect(names: list[str]) -> None:
    """Make two namespaces and a pair of interfaces between them."""
    for name in names:
        ip("netns", "add", name)
    ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
    for i, name in enumerate(names):
        ip("-n", name, "addr", "add", f"{ADDRESS}.{i + 1}/24", "dev", name)
        ip("-n", name, "link", "set", name, "up")
        ip("-n", name, "link", "set", "lo", "up")


def launch(name: str, folder: Path, steps: int, log: Path) -> subprocess.Popen[bytes]:
    """Start ``torchrun`` on a host."""
    command = [
        *("ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes=2", "--nproc-per-node=1", "--max-restarts=20", "--rdzv-backend=c10d", "--rdzv-id=soak"),
        *(f"--rdzv-endpoint={ADDRESS}.1:29400", f"--rdzv-conf=is_host={int(name.endswith(str(1)))}"),
        f"--local-addr={ADDRESS}.{name[-1]}",
        *("-m", "pyrogen", "train", "vae", "--data", "digits", "--steps", str(steps), "--no-compile"),
        *("--out", str(folder)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": name}
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def worker(name: str) -> int | None:
    """A process of the training on a host; ``None`` if there is none at the moment."""
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True).stdout.split()
    for process in map(int, listed):
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"pyrogen" in words and b"torch.distributed.run" not in words:
            return process
    return None


def last_step(folder: Path) -> int:
    """The last logged step."""
    return int(pyrogen.open(folder).metrics[-1]["t"]) if (folder / "metrics.jsonl").exists() else 0


def soak(folder: Path, names: list[str], steps: int, kills: int) -> None:
    """Train, kill, and check the run."""
    hosts = [launch(name, folder / "run", steps, folder / f"{name}.log") for name in names]
    killed, draws, marks = 0, random.Random(0), [steps * (i + 1) // (kills + 2) for i in range(kills)]
    began = time.monotonic()
    while any(host.poll() is None for host in hosts):
        time.sleep(0.2)
        if killed < kills and last_step(folder / "run") >= marks[killed]:
            name = draws.choice(names)
            process = worker(name)
            if process is not None:
                os.kill(process, signal.SIGKILL)
                killed += 1
                print(f"killed process {process} on {name} after step {last_step(folder / 'run')}", flush=True)
    codes = [host.returncode for host in hosts]
    rows = [row["t"] for row in pyrogen.open(folder / "run").metrics]
    seconds = time.monotonic() - began
    print(f"{killed} kills, exit statuses {codes}, last step {rows[-1]:.0f}, {len(rows)} rows, {seconds:.0f} s")
    if codes != [0, 0] or rows != sorted(set(rows)) or rows[-1] != steps or killed != kills:
        for name in names:
            print((folder / f"{name}.log").read_text()[-3000:])
        raise SystemExit(1)


def main() -> None:
    """Make the hosts, train on them, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=2)
    chosen = parser.parse_args()
    names = ["pyrogen1", "pyrogen2"]
    try:
        connect(names)
        with TemporaryDirectory() as folder:
            soak(Path(folder), names, chosen.steps, chosen.kills)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


if __name__ == "__main__":
    main()
