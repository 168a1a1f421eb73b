"""The benchmark: timing, missing packages, hand-written losses, stored results and plots."""

import json
import time
from functools import partial

import numpy as np
import pytest
import torch
from hosts import interpret

from pyrogen.bench import annealing, costs, pairs, sizes, steps, subprocess_runs
from pyrogen.bench.__main__ import main, update_results
from pyrogen.bench.gpu import figures
from pyrogen.bench.gpu.agreement import checks
from pyrogen.bench.gpu.floors import Rates, floors
from pyrogen.bench.plot import bench_png
from pyrogen.bench.timing import CHUNK, Contender, time_interleaved
from pyrogen.bench.workloads import PAIRS, contender_makers
from pyrogen.errors import DataError
from pyrogen.random import EVALUATION, scoped_seed

QUICK = ["--batch-size", "8", "--rounds", "1", "--seconds", "0.01", "--device", "cpu"]
CPU = torch.device("cpu")


@pytest.fixture
def interpreted(monkeypatch):
    """Graphs are traced and run without inductor, which takes most of the time of these tests."""
    monkeypatch.setattr("torch._inductor.compile", interpret)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def test_interleaved_timing_is_the_median_of_rounds():
    done = {"quick": 0, "slow": 0}

    def sleeper(name, seconds):
        def step(t):
            done[name] += 1
            time.sleep(seconds)

        return Contender(name, step)

    quick, slow = time_interleaved([sleeper("quick", 1e-4), sleeper("slow", 2e-3)], rounds=3, seconds=0.01)
    assert slow.fastest <= slow.milliseconds <= slow.slowest
    assert slow.milliseconds > 2 > quick.milliseconds
    assert all(steps % CHUNK == 0 for steps in done.values())
    printed = steps.table("sleep", 1, [quick, slow])
    assert printed.count("\n| ") == 3
    assert "| quick |" in printed
    assert "1.00× |" in printed


def test_one_workload(capsys, tmp_path, interpreted):
    file = tmp_path / "times.json"
    main(["vae", *QUICK, "--json", str(file)])
    out = capsys.readouterr().out
    for name in ("pyrogen compiled", "pyrogen eager", "Pyro SVI.step", "torch by hand, compiled"):
        assert f"| {name} |" in out
    assert "pyrogen compiled" in {row["name"] for row in json.loads(file.read_text())}


@pytest.mark.parametrize("name", PAIRS)
def test_hand_written_losses_equal_those_of_the_step(name):
    pair = PAIRS[name](8, CPU)
    network, batch = pair.new_network(), pair.batch(0)
    step = pair.step(compile=False)
    step.setup(*batch)
    expected = step.evaluate(*batch)["loss"]
    with scoped_seed(EVALUATION):
        found = pair.by_hand(network, *batch)
    mean = found if name == "flow" else found / 8  # Pyro's loss is a Python number, kept in float64
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=0, check_dtype=False)


@pytest.mark.parametrize("name", ["cvae", "flow"])
def test_every_implementation_trains_the_network(name, monkeypatch, interpreted):
    pair = PAIRS[name](8, CPU)
    made = []
    monkeypatch.setattr(pairs.Workload, "new_network", lambda self: made.append(self.make()) or made[-1])
    _, *others = pairs.contenders(pair)
    for make in others:
        contender = make()
        before = [p.detach().clone() for p in made[-1].parameters()]
        for t in range(2):
            contender.step(t)
        assert all((p != q).any() for p, q in zip(before, made[-1].parameters(), strict=True)), contender.name
    assert len(made) == 4


def test_costs_of_a_pair():
    found = {cost.name: cost.value for cost in costs.costs("vae", 8, CPU, k=2, rounds=1)}
    assert found["compiling, warm cache"] < found["compiling, no cache"]
    assert 1 / 1.2 < found["peak memory, compiled over eager"] < 1.2
    assert found["evaluate, k=2"] > 0
    assert found["sampling"] > 0


def test_start_up():
    found = costs.start_up(rounds=1)
    seconds = {cost.name: cost.value for cost in found}
    assert seconds["pyrogen --help"] < seconds["import pyrogen; pyrogen.SVI"]
    printed = costs.table("start-up", {"fresh process": found})
    assert printed.count("\n| ") == 1 + len(costs.START_UP)


def test_cost_against_size(capsys, tmp_path, interpreted):
    file, picture = tmp_path / "times.json", tmp_path / "costs.png"
    main(["--table", "width", "--widths", "8", "16", *QUICK, "--json", str(file)])
    assert "\n| 16 | " in capsys.readouterr().out
    main(["--table", "rows", "--rows", "1000", *QUICK, "--json", str(file)])
    assert "\n| 1,000 | in memory | " in capsys.readouterr().out
    rows = json.loads(file.read_text())
    assert [row["table"] for row in rows] == ["width"] * 6 + ["rows"]
    main(["--json", str(file), "--plot", str(picture)])
    assert picture.read_bytes() == bench_png(rows)


def test_a_large_file_stays_on_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(sizes, "_CHUNK", 300)
    monkeypatch.setattr("pyrogen.data.memmap.DISK_THRESHOLD", 0)
    file = tmp_path / "images.npy"
    sizes.write(file, 1000)
    assert (np.load(file).std((1, 2)) > 0).all()
    found = subprocess_runs.training_rate(str(file), 8, "cpu", seconds=0.01)
    assert found["where"] == "on disk"
    assert found["rate"] > 0


def test_a_device_is_checked_before_it_is_timed(monkeypatch, capsys, tmp_path, interpreted):
    monkeypatch.setattr(figures, "WORKLOADS", ("vae",))
    monkeypatch.setattr(figures, "contender_makers", lambda *args: list(pairs.contenders(PAIRS["vae"](8, CPU)))[:3])
    monkeypatch.setattr(steps, "contender_makers", figures.contender_makers)
    monkeypatch.setattr(annealing, "CHAINS", {"cpu": 8})
    monkeypatch.setattr(figures, "checks", lambda device: list(checks(device, ["gaussian"]))[:1])
    file = tmp_path / "times.json"
    main(["gpu", *QUICK, "--json", str(file)])
    out = capsys.readouterr().out
    assert out.index("agrees  gaussian: a step is that of the CPU") < out.index("| pyrogen compiled |")
    bounds = next(row for row in json.loads(file.read_text()) if row["name"] == "lower bounds")
    assert bounds["weights"] == 688_884
    macs = 784 * 400 + 400 * 100 + 50 * 400 + 400 * 784
    assert bounds["flops"] == 2 * 8 * (3 * macs - 784 * 400)  # no gradient of the data

    def fails():
        raise AssertionError("step 1: loss is 2, expected 1")

    monkeypatch.setattr(figures, "checks", lambda device: [("vae", fails)])
    with pytest.raises(SystemExit, match="1 checks failed; no times were measured"):
        main(["gpu", *QUICK])
    assert "FAILED  vae: AssertionError: step 1: loss is 2, expected 1" in capsys.readouterr().out


def test_operations_of_second_derivatives_are_counted():
    game = next(m() for m in contender_makers("wgan-gp", 4, CPU) if m.args[0] == "pyrogen eager")
    game.step(0)
    found = floors(lambda: game.step(1), Rates(1e12, 1e12, 1e-6))
    assert found.arithmetic == pytest.approx(found.flops / 1e6)
    assert found.flops > 6 * 4 * found.weights
    assert found.launches == found.operators > 100


@pytest.mark.parametrize("name", ["ais", "iwae"])
def test_costs_beside_those_of_the_matrix_products(name, capsys, tmp_path):
    file = tmp_path / "times.json"
    main([name, "--rounds", "1", "--seconds", "0.01", "--device", "cpu", "--json", str(file)])
    assert f"{name}: µs per" in capsys.readouterr().out
    whole, products = json.loads(file.read_text())
    assert whole["microseconds"] > products["microseconds"] > 0
    assert products["name"] == "matrix products alone"


def test_new_results_replace_old_ones(tmp_path):
    file = tmp_path / "times.json"

    def row(workload, name):
        return {"table": "steps", "workload": workload, "batch_size": 8, "name": name}

    update_results(file, [row("vae", "a"), row("vae", "b"), row("flow", "a")])
    update_results(file, [row("vae", "c")])
    assert json.loads(file.read_text()) == [row("flow", "a"), row("vae", "c")]


def test_costs_alone_cannot_be_plotted():
    with pytest.raises(DataError, match="found none among 1 rows"):
        bench_png([{"table": "costs", "workload": "vae", "batch_size": 8, "machine": "", "name": "x", "value": 1.0}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vea"], "unknown workload 'vea'"),
        (["dcgan", "--table", "costs"], "unknown workload 'dcgan': expected some of vae, conv-vae, cvae, flow"),
        (["vae", "--table", "rows"], "--table rows takes no names of workloads"),
        (["--table", "rows", "--rows", "10"], "--rows must be at least 1000; got 10"),
        (["gpu"], "--table gpu needs a GPU, and torch finds none"),
        (["--plot", "x.png"], "expected an existing file as --json; got None"),
    ],
)
def test_errors_name_the_argument(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
