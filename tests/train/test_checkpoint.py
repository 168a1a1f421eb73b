"""Checkpoints are whole or not there, hold every tensor once, and are noticed when damaged."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from pyrogen.errors import RunError
from pyrogen.train.checkpoint import KEEP, is_whole, load, newest, save


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
    assert load(tmp_path, model=net, step=step) == 3
    assert step.count == 7
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())
    bytes_of_weights = sum(v.numel() * v.element_size() for v in kept.values())
    assert (path / "weights.safetensors").stat().st_size < 1.5 * bytes_of_weights + 2000


def test_tied_and_strided_tensors(tmp_path):
    a = nn.Linear(4, 4)
    b = nn.Linear(4, 4)
    b.weight = a.weight
    tied = nn.ModuleList([a, b])
    tied.register_buffer("view", torch.arange(12.0).view(3, 4).T)
    save(tmp_path, t=1, model=tied)
    other = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    other.register_buffer("view", torch.zeros(4, 3))
    load(tmp_path, model=other)
    assert torch.equal(other[1].weight, a.weight)
    assert torch.equal(other.view, tied.view)


def test_only_the_newest_are_kept(tmp_path, net):
    for t in range(1, 6):
        save(tmp_path, t=t, model=net)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"checkpoint-{t:08d}" for t in range(6 - KEEP, 6)]
    assert newest(tmp_path).name == "checkpoint-00000005"


def test_the_same_step_can_be_saved_again(tmp_path, net):
    save(tmp_path, t=1, model=net)
    with torch.no_grad():
        net[0].bias.fill_(5)
    save(tmp_path, t=1, model=net)
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    load(tmp_path, model=other)
    assert bool((other[0].bias == 5).all())


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_noticed_and_the_older_one_serves(tmp_path, net, name, damage):
    save(tmp_path, t=1, model=net)
    newer = save(tmp_path, t=2, model=net)
    file = newer / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-5] ^= 1
        file.write_bytes(content)
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    assert not is_whole(newer)
    assert load(tmp_path, model=net) == 1


def test_none_whole_names_what_was_found(tmp_path, net):
    with pytest.raises(RunError, match="no whole checkpoint in"):
        newest(tmp_path)
    path = save(tmp_path, t=4, model=net)
    (path / "state.pt").unlink()
    with pytest.raises(RunError, match="damaged: checkpoint-00000004"):
        load(tmp_path, model=net)


def test_other_model_is_refused(tmp_path, net):
    save(tmp_path, t=1, model=net)
    with pytest.raises(RunError, match="does not fit this model"):
        load(tmp_path, model=nn.Linear(2, 2))
    with pytest.raises(RunError, match="holds no 'step'"):
        load(tmp_path, step=net)


def test_state_never_runs_code(tmp_path, net):
    class Evil:
        def __reduce__(self):
            return (os.system, ("true",))

    path = save(tmp_path, t=1, model=net)
    torch.save({"model": Evil()}, path / "state.pt")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"].pop("state.pt")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        load(tmp_path, model=net)


WRITER = """
import sys, torch
from torch import nn
from pyrogen.train.checkpoint import save
net = nn.Linear(400, 400)
for t in range(1, 10_000):
    with torch.no_grad():
        net.weight.fill_(float(t))
    save(sys.argv[1], t=t, model=net)
    if t == 1:
        print("ready", flush=True)
"""


def test_killed_while_writing_leaves_a_whole_checkpoint(tmp_path):
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.05 + 0.043 * attempt)
        process.kill()
        process.wait()
        process.stdout.close()
        net = nn.Linear(400, 400)
        t = load(folder, model=net)
        assert bool((net.weight == float(t)).all())


def test_unwritable_folder(tmp_path, net):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write a checkpoint"):
        save(tmp_path / "file", t=1, model=net)
