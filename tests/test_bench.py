"""The benchmark runs, leaves out who is not installed, and counts steps rightly."""

import json
import time

import pytest

from pyrogen.bench.__main__ import main, table
from pyrogen.bench.timing import CHUNK, Contender, race


def test_a_race_is_the_median_of_turns():
    done = {"quick": 0, "slow": 0}

    def sleeper(name, seconds):
        def step(t):
            done[name] += 1
            time.sleep(seconds)

        return Contender(name, step)

    quick, slow = race([sleeper("quick", 1e-4), sleeper("slow", 2e-3)], rounds=3, seconds=0.01)
    assert slow.fastest <= slow.milliseconds <= slow.slowest
    assert slow.milliseconds > 2 > quick.milliseconds
    assert all(steps % CHUNK == 0 for steps in done.values())
    printed = table("sleep", 1, [quick, slow])
    assert printed.count("\n| ") == 3
    assert "| quick |" in printed
    assert "1.00× |" in printed


def test_one_workload(capsys, tmp_path):
    file = tmp_path / "times.json"
    quick = ["--batch-size", "8", "--rounds", "1", "--seconds", "0.01", "--device", "cpu"]
    main(["vae", *quick, "--json", str(file)])
    out = capsys.readouterr().out
    for name in ("pyrogen compiled", "pyrogen eager", "Pyro SVI.step", "torch by hand, compiled"):
        assert f"| {name} |" in out
    assert "pyrogen compiled" in {row["name"] for row in json.loads(file.read_text())}


def test_an_unknown_workload_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["vea"])
    assert "no workload 'vea'" in capsys.readouterr().err
