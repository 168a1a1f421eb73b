"""A step that needs more memory than there is ends in one sentence, and the checkpoint is whole."""

import resource
from pathlib import Path

import forked
import pytest
import torch
from hosts import interpret
from torch import nn

import pyrogen
from pyrogen import SVI
from pyrogen.cli import entry
from pyrogen.errors import OutOfMemory, is_out_of_memory
from pyrogen.objectives import BetaELBO
from pyrogen.steps import GradientStep
from pyrogen.training import build, configure, train
from pyrogen.training.checkpoint import newest
from pyrogen.training.run import Run

GPU = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.2 GiB is free."
)


def greedy(path):
    """Train until step 26, which asks for more memory than there is."""
    options = {"steps": 40, "batch_size": 64, "hidden": (16,), "latent": 2}
    run = Run.create(path, configure("vae", "digits", options=options))
    setup = build(run.config)

    def watch(row):
        if row["t"] == 25:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, -1))
            setup.model.encoder.forward = lambda *_: torch.ones(2**28)

    try:
        train(run, watch, setup)
    except OutOfMemory as error:
        print(error, flush=True)


def raising(error, **options):
    net = nn.Linear(3, 1)

    def losses(x):
        raise error

    step = GradientStep(net, **options)
    step.losses = losses
    return step


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(GPU), MemoryError(), RuntimeError("not enough memory: …")])
def test_the_sentence_names_batch_peak_and_what_to_try(error):
    with pytest.raises(OutOfMemory) as caught:
        list(pyrogen.fit(raising(error), torch.rand(64, 3), steps=1, batch_size=48))
    text = str(caught.value)
    assert text.startswith("step 1: out of memory with batches of 48 rows (")
    assert "iB in use at most" in text
    assert text.endswith("try a smaller batch size, or precision bf16")
    assert ("2.00 GiB more" in text) == isinstance(error, torch.OutOfMemoryError)


def test_particles_are_named_where_there_are_several_and_bf16_where_it_is_not_used():
    def model(x):
        raise MemoryError

    step = SVI(model, loss=BetaELBO(particles=4))
    with pytest.raises(OutOfMemory, match=r"try a smaller batch size, or fewer particles$"):
        list(pyrogen.fit(step, torch.rand(8, 3), steps=1, batch_size=8, precision="bf16"))


def test_other_errors_are_not_taken_for_it():
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(pyrogen.fit(raising(RuntimeError("shapes")), torch.rand(8, 3), steps=1, batch_size=8))


def test_a_run_keeps_its_checkpoint_whatever_needs_the_memory(tmp_path):
    run = Run.create(tmp_path / "run", configure("vae", "digits", options={"steps": 40, "hidden": (8,), "latent": 2}))

    def watch(row):
        if row["t"] == 11:
            raise torch.OutOfMemoryError(GPU)

    with pytest.raises(
        OutOfMemory, match=r"^after step 11: .* of 256 rows .*; the checkpoint of step 10 is from before$"
    ):
        train(run, watch)


def test_a_real_allocation_that_fails(tmp_path):
    path = tmp_path / "run"
    done = forked.run(greedy, path, folder=tmp_path)
    said = done.stdout.splitlines()[-1:] or [done.stderr]
    assert said[0].startswith("step 26: out of memory with batches of 64 rows ("), said
    assert "1.0 GiB more were asked for" in said[0]
    assert said[0].endswith("; the checkpoint of step 24 is from before")
    assert newest(path).name == "checkpoint-00000024"


def test_the_command_line_says_it_in_one_line(monkeypatch, capsys):
    def app(**_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: …")

    monkeypatch.setattr(entry, "app", app)
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


HIDDEN = "aoti_torch_empty_strided(2, int_array_0, int_array_1) API call failed at /a/file.main.cpp, line 30"


def failing(monkeypatch, every, after=8):
    """Eight steps of a compiled network; all its graphs fail from then on."""
    monkeypatch.setattr("torch._inductor.compile", interpret)
    torch.manual_seed(0)
    net = nn.Linear(3, 1)
    step = GradientStep(lambda x: {"loss": net(x).square().mean()}, compile=True)
    x, losses = torch.rand(64, 3), []

    def run(graph, steps):
        def failed(*_):
            raise RuntimeError(HIDDEN)

        for t, logs in pyrogen.fit(step, x, steps=steps, batch_size=16, every=every):
            losses.append(float(logs["loss"]))
            if graph and t >= after:
                for one in step._verified.graphs.values():
                    one.graph.run = failed

    return step, net, losses, run


@pytest.mark.parametrize("every", [1, 4])
def test_a_step_whose_compiled_code_fails_without_a_cause_is_repeated_eagerly(monkeypatch, caplog, every):
    found, expected = (failing(monkeypatch, every) for _ in range(2))
    for (step, *_, run), fails in ((found, True), (expected, False)):
        run(fails, 16)
        assert step.t == 16
    assert found[2] == pytest.approx(expected[2], rel=1e-5)
    assert torch.allclose(found[1].weight, expected[1].weight, atol=1e-6)
    assert "compiled code failed, and the step runs eagerly: aoti_torch_empty_strided" in caplog.text
    assert found[0]._verified.refused is None


@pytest.mark.parametrize("every", [1, 4])
def test_compiled_code_without_memory_is_reported_as_eager_code_is(monkeypatch, every):
    step, net, _, run = failing(monkeypatch, every)

    def without_memory(x):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 6400000000 bytes.")

    def fail(t):
        if t == 8:
            net.forward = without_memory

    monkeypatch.setattr("pyrogen.compile.verified.log.warning", lambda *_: fail(8))
    with pytest.raises(OutOfMemory, match=r"^step 9: out of memory with batches of 16 rows .* 6\.0 GiB more"):
        run(True, 16)
    assert step.t == 8
