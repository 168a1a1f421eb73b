"""Checkpoints are whole or not there, hold every tensor once, and are noticed when damaged."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pyrogen.errors import RunError
from pyrogen.training.checkpoint import KEEP, checkpoints, clear, contents, is_whole, newest, restore, save


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


class Holder:
    """A step that shares its weights with the model, and has a state of its own."""

    def __init__(self, net):
        self.net, self.count = net, 0

    def state_dict(self):
        return {"weights": self.net.state_dict(), "count": self.count, "nested": {"m": torch.ones(2)}}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["weights"])
        self.count = state["count"]


def test_round_trip_and_shared_tensors_are_stored_once(tmp_path, net):
    step = Holder(net)
    step.count = 7
    path = save(tmp_path, t=3, model=net, step=step)
    kept = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    step.count = 0
    assert restore(tmp_path, model=net, step=step) == 3
    assert step.count == 7
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())
    bytes_of_weights = sum(v.numel() * v.element_size() for v in kept.values())
    assert (path / "weights.safetensors").stat().st_size < 1.5 * bytes_of_weights + 2000
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["aliases"] == {f"step.{name}": f"model.{name}" for name in kept}
    assert (manifest["t"], manifest["write"]) == (3, 1)
    assert manifest["format"] == 2
    state = json.loads((path / "state.json").read_text())["parts"]
    assert state["model"] == {"$weights": "model"}
    assert state["step"] == {"weights": {"$weights": "step"}, "count": 7, "nested": {"m": {"$tensor": {"name": "0"}}}}


def test_tied_and_strided_tensors(tmp_path):
    a = nn.Linear(4, 4)
    b = nn.Linear(4, 4)
    b.weight = a.weight
    tied = nn.ModuleList([a, b])
    tied.register_buffer("view", torch.arange(12.0).view(3, 4).T)
    save(tmp_path, t=1, model=tied)
    other = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    other.register_buffer("view", torch.zeros(4, 3))
    restore(tmp_path, model=other)
    assert torch.equal(other[1].weight, a.weight)
    assert torch.equal(other.view, tied.view)


def test_only_the_newest_are_kept(tmp_path, net):
    for t in range(1, 6):
        save(tmp_path, t=t, model=net)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"checkpoint-{t:08d}" for t in range(6 - KEEP, 6)]
    assert newest(tmp_path).name == "checkpoint-00000005"


def test_the_same_step_can_be_saved_again(tmp_path, net):
    tmp_path = tmp_path / "made" / "if absent"
    assert save(tmp_path, t=1, model=net).name == "checkpoint-00000001"
    with torch.no_grad():
        net[0].bias.fill_(5)
    assert save(tmp_path, t=1, model=net).name == "checkpoint-00000001-2"
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    restore(tmp_path, model=other)
    assert bool((other[0].bias == 5).all())


def test_none_whole_names_what_was_found(tmp_path, net):
    with pytest.raises(RunError) as error:
        newest(tmp_path)
    assert str(error.value) == f"no valid checkpoint in {tmp_path}"
    path = save(tmp_path, t=4, model=net)
    (path / "state.json").unlink()
    with pytest.raises(RunError, match=r"checkpoint-00000004 is damaged \(state.json is missing\)"):
        restore(tmp_path, model=net)


def test_other_model_is_refused(tmp_path, net):
    save(tmp_path, t=1, model=net)
    with pytest.raises(RunError, match="does not fit this model"):
        restore(tmp_path, model=nn.Linear(2, 2))
    with pytest.raises(RunError, match="does not contain 'step'"):
        restore(tmp_path, step=net)


def of_version_0_1(path, first=True, state=None):
    """Make a checkpoint one of version 0.1, or one of its first, without a number of writing and a checksum."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name in ("state.json", "state.safetensors"):
        (path / name).unlink()
    torch.save({"model": None} if state is None else state, path / "state.pt")
    digests = {n: hashlib.sha256((path / n).read_bytes()).hexdigest() for n in ("weights.safetensors", "state.pt")}
    old = {"t": manifest["t"], "write": manifest["write"], "aliases": manifest["aliases"], "sha256": digests}
    if first:
        del old["write"]
    else:
        old["check"] = hashlib.sha256(json.dumps(old, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(old))


def test_a_hostile_state_of_version_0_1_runs_no_code(tmp_path, net):
    class Evil:
        def __reduce__(self):
            return (os.system, ("true",))

    of_version_0_1(save(tmp_path, t=1, model=net), state={"model": Evil()})
    with pytest.raises(
        RunError, match=r"no valid checkpoint in .*got an object of 'posix.system', and objects can execute code"
    ):
        restore(tmp_path, model=net)


def killed(folder, *options):
    """What ``kills.py`` found."""
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run([sys.executable, script, folder, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for times, found in result.items():
        assert found["lost"] == found["stays"] == found["calls"]["lost"] == 0, (times, found, done.stderr)
        assert found["calls"]["left"] == ["check", "check"]
        assert found["calls"]["points"] > 10
    return result


def test_killed_while_writing_leaves_the_newest_checkpoint_whole(tmp_path):
    killed(tmp_path, "--kills", "10", "--wait", "0", "0.05")


@pytest.mark.slow
def test_hundred_kills_for_each_way_of_choosing_t(tmp_path):
    print(killed(tmp_path, "--kills", "100"))


@pytest.mark.parametrize("t", [50, 350, 375, 400, 500])
def test_what_was_saved_last_is_what_is_restored(tmp_path, net, t):
    for other in (350, 400):
        save(tmp_path, t=other, model=net)
    with torch.no_grad():
        net[0].bias.fill_(5)
    path = save(tmp_path, t=t, model=net)
    assert newest(tmp_path) == path
    assert path.name.startswith(f"checkpoint-{t:08d}")
    with torch.no_grad():
        net[0].bias.fill_(0)
    assert restore(tmp_path, model=net) == t
    assert bool((net[0].bias == 5).all())
    assert len(list(tmp_path.iterdir())) == KEEP


def test_the_order_of_writing_needs_no_clock(tmp_path, net):
    for t in (3, 1, 2):
        path = save(tmp_path, t=t, model=net)
        for file in (*tmp_path.iterdir(), *path.iterdir()):
            os.utime(file, (0, 0))
        assert restore(tmp_path, model=net) == t
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-00000001", "checkpoint-00000002"}


def test_checkpoints_of_version_0_1_are_older_than_all_new_ones(tmp_path, net):
    for t in (350, 400):
        of_version_0_1(save(tmp_path, t=t, model=net))
    assert restore(tmp_path, model=net) == 400
    save(tmp_path, t=50, model=net)
    assert restore(tmp_path, model=net) == 50
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-00000050", "checkpoint-00000400"}


def test_a_damaged_manifest_goes_before_the_whole_checkpoints(tmp_path, net):
    for t in (350, 400):
        of_version_0_1(save(tmp_path, t=t, model=net))
    (tmp_path / "checkpoint-00000400" / "manifest.json").write_text("{")
    save(tmp_path, t=450, model=net)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-00000350", "checkpoint-00000450"}


def test_what_dead_processes_left_is_no_checkpoint_and_goes(tmp_path, net):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    pid, alive = dead.stdout.strip(), os.getppid()
    whole = save(tmp_path, t=9, model=net)
    gone = [f".new-{pid}-0", f".new-{os.getpid()}-123456", f".new-checkpoint-00000008-{pid}"]
    gone += [".old-checkpoint-00000007", f".old-checkpoint-00000006-{pid}-3"]
    stay = [
        f".new-{alive}-0",
        ".new-ideas",
        ".old-checkpoint-notes",
        "checkpoint-of-mine",
        "checkpoint-00000011-backup",
    ]
    for name in (*gone, *stay):
        shutil.copytree(whole, tmp_path / name)
    (tmp_path / "checkpoint-notes.txt").write_text("mine")
    assert restore(tmp_path, model=net) == 9
    for t in (10, 11, 12):
        save(tmp_path, t=t, model=net)
    left = {"checkpoint-00000011", "checkpoint-00000012", "checkpoint-notes.txt", *stay}
    assert {p.name for p in tmp_path.iterdir()} == left
    clear(tmp_path, locked=True)  # the number of a process that died may be another one's by now
    assert {p.name for p in tmp_path.iterdir()} == left - {f".new-{alive}-0"}


def test_what_another_process_has_just_removed_is_no_error(tmp_path, net, monkeypatch):
    remove = shutil.rmtree

    def too_late(path, **options):
        remove(path, ignore_errors=True)
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", too_late)
    for left in (".old-checkpoint-00000001", ".new-0123456789012345678901-0"):
        (tmp_path / left).mkdir()
    for t in range(KEEP + 1):
        save(tmp_path, t=t, model=net)
    assert len(list(tmp_path.iterdir())) == KEEP


@pytest.mark.parametrize(("error", "stays"), [(PermissionError, True), (ProcessLookupError, False)])
def test_a_folder_that_another_user_is_writing_stays(tmp_path, net, monkeypatch, error, stays):
    asked = []

    def kill(process, signal):
        asked.append((process, signal))
        raise error

    monkeypatch.setattr(os, "kill", kill)
    (tmp_path / ".new-12345-0").mkdir()
    save(tmp_path, t=1, model=net)
    assert (tmp_path / ".new-12345-0").exists() == stays
    assert asked == [(12345, 0)]  # signal 0 only asks


def test_threads_that_save_at_once_take_nothing_from_each_other(tmp_path):
    nets = [nn.Linear(200, 200) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda i: save(tmp_path, t=1, model=nets[i % 4]), range(40)))
    left = list(tmp_path.iterdir())
    assert len(left) == KEEP
    assert set(left) <= set(paths)
    assert all(is_whole(path) for path in left)


def test_a_save_in_the_middle_of_a_save_as_of_a_signal(tmp_path, net, monkeypatch):
    def interrupted(weights, path):
        monkeypatch.setattr(contents, "save_file", save_file)
        save(tmp_path, t=2, model=net)
        save_file(weights, path)

    monkeypatch.setattr(contents, "save_file", interrupted)
    save(tmp_path, t=1, model=net)
    assert restore(tmp_path, model=net) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-00000001", "checkpoint-00000002"}


def test_a_child_that_was_forked_in_the_middle_of_a_save_waits_for_nobody(tmp_path, net):
    with checkpoints._saving, ThreadPoolExecutor(1) as pool:
        checkpoints._renew()  # as in the child, where the thread that holds the lock is not
        assert pool.submit(save, tmp_path, t=1, model=net).result(timeout=30).name == "checkpoint-00000001"


def test_a_full_disk_costs_no_checkpoint(tmp_path):
    script = """
import resource, signal, sys
from torch import nn
from pyrogen.errors import RunError
from pyrogen.training.checkpoint import restore, save
small, large = nn.Linear(10, 10), nn.Linear(600, 600)
save(sys.argv[1], t=7, model=small)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
class State:
    def state_dict(self): return {"a": list(range(100_000))}
for thing in (large, State()):
    try:
        save(sys.argv[1], t=8, model=thing)
    except RunError as error:
        print(error)
print(restore(sys.argv[1], model=small))
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert ["checkpoint-00000008: File too large (" in line for line in lines] == [True, True, False], done
    assert lines[-1] == "7"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-00000007"]


def test_unwritable_folder(tmp_path, net):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file/checkpoint-00000001: "):
        save(tmp_path / "file", t=1, model=net)
