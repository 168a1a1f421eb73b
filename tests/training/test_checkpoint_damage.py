"""Whatever befalls the files of a checkpoint, the older one is used and named, or one sentence says why none is."""

import hashlib
import json
import os
import random
import shutil
import warnings
from functools import partial

import pytest
import torch
from torch import nn

from pyrogen.errors import RunError, RunWarning
from pyrogen.files import seal_json, unseal_json
from pyrogen.training.checkpoint import checkpoints, is_whole, newest, restore, save
from pyrogen.training.checkpoint.manifest import FILES, FORMAT, MANIFEST

NAMES = sorted({MANIFEST, *FILES[FORMAT]})


class Counted:
    """A network, and a state beside it, that hold the step at which they were saved."""

    def __init__(self):
        self.net, self.t = nn.Linear(2, 2), 0
        self.optimizer = torch.optim.Adam(self.net.parameters())

    def at(self, t):
        for weight in self.net.parameters():
            nn.init.constant_(weight, t)
        self.t = t
        return self

    def state_dict(self):
        return {"weights": self.net.state_dict(), "t": self.t, "moment": torch.full((3,), float(self.t))}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["weights"])
        self.t, self.moment = state["t"], state["moment"]


@pytest.fixture
def run(tmp_path):
    """Two checkpoints, of steps 1 and 2."""
    for t in (1, 2):
        save(tmp_path, t=t, part=Counted().at(t))
    return tmp_path


def restored(folder):
    """The step that is restored and what is warned of; all that is restored is of this step."""
    part = Counted()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        t = restore(folder, part=part)
    assert part.t == t
    assert bool((part.moment == t).all())
    assert all(bool((weight == t).all()) for weight in part.net.parameters())
    assert all(issubclass(one.category, RunWarning) for one in caught)
    return t, [str(one.message) for one in caught]


def assert_falls_back(folder, what=""):
    t, texts = restored(folder)
    assert t == 1
    (text,) = texts
    assert text.startswith(f"{folder}: checkpoint-00000002 is damaged ({what}")
    assert text.endswith("); checkpoint-00000001 is used")
    assert text.isprintable()


def positions(content):
    """Every byte of a small file; those of the head, the end and a sample of a larger one."""
    if len(content) <= 400:
        return range(len(content))
    draws = random.Random(0).sample(range(len(content)), 150)
    return sorted({*range(100), *range(len(content) - 20, len(content)), *draws})


@pytest.mark.parametrize("name", NAMES)
def test_every_flip_and_every_truncation_is_noticed(run, name):
    file = run / "checkpoint-00000002" / name
    whole = file.read_bytes()
    for at in positions(whole):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        file.write_bytes(flipped)
        assert_falls_back(run, name)
        file.write_bytes(whole[:at])
        assert_falls_back(run, name)
    file.write_bytes(whole + b"\0")
    assert_falls_back(run, name)
    file.write_bytes(whole)
    assert restored(run) == (2, [])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "instead", ["nothing", "a FIFO", "a link", "a broken link", "a folder", "a device", "another's"]
)
def test_a_file_that_is_missing_or_is_something_else_is_noticed(run, tmp_path_factory, name, instead):
    file = run / "checkpoint-00000002" / name
    elsewhere = shutil.copy(file, tmp_path_factory.mktemp("elsewhere"))
    file.unlink()
    if instead == "a FIFO":
        os.mkfifo(file)
    elif instead == "a link":
        file.symlink_to(elsewhere)
    elif instead == "a broken link":
        file.symlink_to("none")
    elif instead == "a folder":
        file.mkdir()
    elif instead == "a device":
        file.symlink_to("/dev/zero")
    elif instead == "another's":
        shutil.copy(run / "checkpoint-00000001" / name, file)
    if name == MANIFEST and instead == "another's":
        assert_falls_back(run, "state.json does not have its checksum")
    else:
        reasons = {"nothing": "is missing", "another's": "does not have its checksum"}
        assert_falls_back(run, f"{name} {reasons.get(instead, 'is not a regular file')}")
    assert not is_whole(run / "checkpoint-00000002")
    shutil.rmtree(run / "checkpoint-00000001")
    with pytest.raises(RunError, match=r"no valid checkpoint in .*: checkpoint-00000002 is damaged") as error:
        newest(run)
    assert str(error.value).isprintable()


def test_a_checkpoint_that_is_a_link_out_of_the_folder_is_not_used(run, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x"
    (run / "checkpoint-00000002").rename(elsewhere)
    (run / "checkpoint-00000002").symlink_to(elsewhere)
    assert_falls_back(run, "it is a symbolic link")
    save(run, t=3, part=Counted().at(3))
    save(run, t=4, part=Counted().at(4))
    assert {path.name for path in run.iterdir()} == {"checkpoint-00000003", "checkpoint-00000004"}
    assert len(list(elsewhere.iterdir())) == len(NAMES)


def change(path, seal=True, **fields):
    """Change the manifest of a checkpoint, and give it the right checksum."""
    value = unseal_json((path / MANIFEST).read_bytes()) | fields
    (path / MANIFEST).write_text(seal_json(value) if seal else json.dumps({**value, "sha256": "0" * 64}))


SHA = "0" * 64
MANIFESTS = {
    "no file": ({"files": {}}, "does not list exactly the files"),
    "some files": ({"files": {"weights.safetensors": SHA}}, "does not list exactly the files"),
    "a file more": ({"files": dict.fromkeys([*FILES[FORMAT], "more"], SHA)}, "does not list exactly the files"),
    "a foreign path": ({"files": dict.fromkeys(["../x", *sorted(FILES[FORMAT])[1:]], SHA)}, "does not list exactly"),
    "no list": ({"files": None}, "is not one of a checkpoint"),
    "texts for numbers": ({"t": "2"}, "is not one of a checkpoint"),
    "a negative step": ({"t": -2}, "is not one of a checkpoint"),
    "a key more": ({"more": 1}, "is not one of a checkpoint"),
    "a format that never was": ({"format": 0}, "does not list exactly"),
    "an alias of nothing": ({"aliases": {"part.x": "part.y"}}, "the weight 'part.x' is to be 'part.y'"),
    "an alias of itself": ({"aliases": {"part.weight": "part.weight"}}, "the weight 'part.weight'"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_says_something_else_is_not_believed(run, name):
    fields, reason = MANIFESTS[name]
    change(run / "checkpoint-00000002", **fields)
    t, (text,) = restored(run)
    assert t == 1
    assert reason in text
    change(run / "checkpoint-00000002", seal=False, **fields)
    assert_falls_back(run, "manifest.json does not have its checksum")


@pytest.mark.parametrize(
    "content", ["", "[]", "1", "null", '{"format": 2}', "{}", "[" * 10**5, "\0", '{"format": NaN}']
)
def test_a_manifest_that_is_none_is_noticed(run, content):
    (run / "checkpoint-00000002" / MANIFEST).write_text(content)
    assert_falls_back(run, MANIFEST)


def reseal(path, **contents):
    """Replace files of a checkpoint, and give the manifest their checksums: what only a person does."""
    files = unseal_json((path / MANIFEST).read_bytes())["files"]
    for name, content in contents.items():
        (path / name).write_bytes(content)
        files[name] = hashlib.sha256(content).hexdigest()
    change(path, files=files)


TREES = [
    "",
    "[]",
    '{"parts": 1, "seen": {}}',
    '{"parts": {"part": {"$tensor": {"name": "none"}}}, "seen": {}}',
    '{"parts": {"part": {"$tensor": {"name": "0", "order": [7]}}}, "seen": {}}',
    '{"parts": {"part": {"$tensor": {"name": "0", "dtype": "load", "shape": [1]}}}, "seen": {}}',
    '{"parts": {"part": {"$dtype": "Tensor"}}, "seen": {}}',
    '{"parts": {"part": {"$unknown": 1}}, "seen": {}}',
    '{"parts": {"part": {"$tuple": 1, "b": 2}}, "seen": {}}',
    '{"parts": {"part": {"$dict": [[[], 1]]}}, "seen": {}}',
    '{"parts": {"part": {"$device": "nowhere"}}, "seen": {}}',
    '{"parts": {"part": {"$weights": "other"}}, "seen": {}}',
    '{"parts": {"part": ' + "[" * 10**5,
]


@pytest.mark.parametrize("tree", TREES, ids=range(len(TREES)))
def test_contents_with_the_right_checksum_that_are_none_are_noticed(run, tree):
    reseal(run / "checkpoint-00000002", **{"state.json": tree.encode()})
    assert_falls_back(run, "its contents are not those of a checkpoint")


def test_safetensors_with_the_right_checksum_that_are_none_are_noticed(run):
    for name in ("weights.safetensors", "state.safetensors"):
        for content in (b"", b"\0" * 8, (1 << 40).to_bytes(8, "little"), b"\2\0\0\0\0\0\0\0[]"):
            reseal(run / "checkpoint-00000002", **{name: content})
            assert_falls_back(run, "its contents are not those of a checkpoint")


@pytest.mark.parametrize(
    "state", ['{"t": 2}', "[1]", "7", '{"weights": {"$weights": "part"}}', '{"weights": {"a": 1}}']
)
def test_a_state_of_another_kind_is_one_sentence(run, state):
    tree = json.dumps({"parts": {"part": json.loads(state)}, "seen": {}})
    reseal(run / "checkpoint-00000002", **{"state.json": tree.encode()})
    with pytest.raises(RunError, match=r"checkpoint-00000002 does not fit this part: ") as error:
        restore(run, part=Counted())
    assert str(error.value).isprintable()


def test_a_newer_format_is_refused_by_its_number(run):
    change(run / "checkpoint-00000002", format=FORMAT + 1, more="than this version knows")
    for use in (newest, partial(restore, part=Counted()), partial(save, t=3, part=Counted())):
        with pytest.raises(RunError, match=rf"checkpoint-00000002 has format {FORMAT + 1}; this version") as error:
            use(run)
        assert str(error.value).isprintable()
    assert len(list(run.iterdir())) == 2
    change(run / "checkpoint-00000002", seal=False, format=FORMAT + 1)
    assert_falls_back(run, "manifest.json does not have its checksum")


def test_files_beside_those_of_a_checkpoint_are_ignored(run):
    (run / "checkpoint-00000002" / ".DS_Store").write_bytes(b"x")
    assert restored(run) == (2, [])


def test_all_damaged_ones_are_named(run):
    (run / "checkpoint-00000001" / MANIFEST).unlink()
    (run / "checkpoint-00000002" / "state.json").unlink()
    with pytest.raises(RunError) as error:
        restore(run, part=Counted())
    first = "checkpoint-00000001 is damaged (manifest.json is missing)"
    second = "checkpoint-00000002 is damaged (state.json is missing)"
    assert str(error.value) == f"no valid checkpoint in {run}: {first}, {second}"


def test_what_a_run_that_goes_on_has_just_removed_is_not_called_damaged(run, monkeypatch):
    check = checkpoints.check_files

    def late(path, manifest):
        if path.name == "checkpoint-00000002" and path.exists():
            shutil.rmtree(path)
        return check(path, manifest)

    monkeypatch.setattr(checkpoints, "check_files", late)
    assert restored(run) == (1, [])
