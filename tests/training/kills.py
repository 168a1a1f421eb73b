"""Kill a process that saves, again and again, and look at what it leaves: run with ``--help``.

Torch is imported once; every process that is killed is a fork of this one, which has a single thread.
"""

import argparse
import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from pyrogen.training.checkpoint import clear, is_whole, newest, restore, save
from pyrogen.training.checkpoint.manifest import read_manifest

TIMES = {
    "same": lambda i: 50,
    "growing": lambda i: i,
    "any": lambda i: (i * 37) % 101,  # up and down
}
"""The ``t`` that the i-th save is given."""


class Counted:
    """Weights, and a state beside them, that all hold the number of the save."""

    def __init__(self):
        self.net = nn.Linear(200, 200)
        self.i = 0

    def count(self):
        self.i += 1
        with torch.no_grad():
            for weight in self.net.parameters():
                weight.fill_(self.i)

    def state_dict(self):
        return {"weights": self.net.state_dict(), "i": self.i}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["weights"])
        self.i = state["i"]


def look(folder, t_of):
    """What is restored: the number of its save and of its writing, or why it cannot be."""
    thing = Counted()
    t = restore(folder, thing=thing)
    assert all(bool((weight == thing.i).all()) for weight in thing.net.parameters()), "weights of another save"
    assert t == t_of(thing.i), f"t = {t} at save {thing.i}"
    path = newest(folder)
    assert is_whole(path)
    return thing.i, read_manifest(path).write


def fork(work):
    """A child that does ``work``, and dies."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    return pid


def saves(folder, start, t_of, pipe):
    """Save for ever, and tell of each save when it is done."""
    thing = Counted()
    thing.i = start
    while True:
        thing.count()
        save(folder, t=t_of(thing.i), thing=thing)
        os.write(pipe, thing.i.to_bytes(8, "little"))


def leftovers(folder):
    """What a dead process left beside the checkpoints."""
    return {path.name.rpartition("-")[0] for path in folder.glob(".*-*")}


def kill_at_random(folder, kills, t_of, low, high, draws):
    """After each of ``kills`` deaths: nothing that was told of as saved is gone, and nothing is torn."""
    last = write = lost = left = stays = 0
    for _ in range(kills):
        reader, writer = os.pipe()
        pid = fork(lambda: saves(folder, last, t_of, writer))  # noqa: B023
        os.close(writer)
        select.select([reader], [], [], 60)  # ready: the first save is done
        stays += len([name for name in leftovers(folder) if not name.endswith(f"-{pid}")])
        time.sleep(draws.uniform(low, high))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        told = b""
        while piece := os.read(reader, 65536):
            told += piece
        os.close(reader)
        done = int.from_bytes(told[-8:], "little")
        left += len(leftovers(folder))
        try:
            i, w = look(folder, t_of)
            assert done <= i <= done + 1, f"save {done} was done, and save {i} is restored"
            assert w >= write, f"after writing {write} came {w}"
            last, write = i, w
        except Exception as error:
            lost += 1
            print(f"lost: {error!r}", file=sys.stderr)
            last = max(last, done)
    clear(folder, locked=True)  # as a run that is continued does
    stays += len(leftovers(folder))
    return {"kills": kills, "saves": last, "lost": lost, "left": left, "stays": stays}


def die_at_every_call(folder, t_of):
    """Die before the first, the second, … call to the system of one ``save``, until one is not reached."""
    thing = Counted()
    points = lost = 0
    for _ in range(3):  # so that there is one to remove
        thing.count()
        save(folder, t=t_of(thing.i), thing=thing)

    def dies(after):
        calls = 0

        def hook(event, _):
            nonlocal calls
            if event.startswith(("os.", "shutil.")) or event == "open":
                calls += 1
                if calls > after:
                    os._exit(9)

        sys.addaudithook(hook)
        thing.count()
        save(folder, t=t_of(thing.i), thing=thing)
        os._exit(0)

    while True:
        status = os.waitpid(fork(lambda: dies(points)), 0)[1]  # noqa: B023
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 9), f"the child ended with {code}"
        try:
            i, _ = look(folder, t_of)
            assert thing.i <= i <= thing.i + 1, f"save {thing.i} was done, and save {i} is restored"
        except Exception as error:
            lost += 1
            print(f"lost at call {points}: {error!r}", file=sys.stderr)
        if code == 0:
            break
        points += 1
        thing.i += 1
        thing.count()
        save(folder, t=t_of(thing.i), thing=thing)  # of what the dead one left, nothing is left
        assert all(path.name.startswith("checkpoint-") for path in Path(folder).iterdir())
    return {"points": points, "lost": lost, "left": sorted(p.name[:5] for p in Path(folder).iterdir())}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty folder on the disk that is to be tried")
    parser.add_argument("--kills", type=int, default=100, help="for each way of choosing t")
    parser.add_argument("--times", nargs="+", choices=TIMES, default=list(TIMES))
    parser.add_argument("--wait", nargs=2, type=float, default=(0.02, 0.3), help="seconds after the first save")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draws = random.Random(args.seed)
    result = {}
    for name in args.times:
        t_of = TIMES[name]
        result[name] = kill_at_random(args.folder / name, args.kills, t_of, *args.wait, draws)
        result[name] |= {"calls": die_at_every_call(args.folder / f"{name}-calls", t_of)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
