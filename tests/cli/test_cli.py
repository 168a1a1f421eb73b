"""The command line: what it prints and writes, and what it says of a mistake."""

import io
import json
import re
from functools import partial

import numpy as np
import pytest
import recipe_cases
from commands import caller
from PIL import Image
from recipe_cases import flags

from pyrogen.cli import compare, console
from pyrogen.data import load
from pyrogen.experiments import EXPERIMENTS
from pyrogen.recipes import RECIPES
from pyrogen.training.run import Run

pytestmark = pytest.mark.usefixtures("quick_measures")


@pytest.fixture
def pyrogen(monkeypatch, capsys, tmp_path):
    """Call the command line in this process: ``(status, stdout, stderr)``."""
    return caller(monkeypatch, capsys, tmp_path)


SMALL = ("--steps", 40, "--batch-size", 32)
AUTOENCODERS = recipe_cases.of(family="reconstruction")
SAMPLING = sorted(name for name in RECIPES if name not in AUTOENCODERS)


@pytest.mark.parametrize("model", AUTOENCODERS)
def test_what_cannot_sample_is_measured_by_its_reconstructions(pyrogen, tmp_path, model):
    run = tmp_path / "run"
    assert pyrogen("train", model, "--out", run, *SMALL, *flags(model))[0] == 0
    assert (run / "samples/00000040.png").exists()
    result = json.loads(pyrogen("evaluate", run, "--json")[1])
    assert result["scores"].keys() == {"reconstruction"}
    status, _, err = pyrogen("sample", run)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{model} cannot sample" in err
    assert pyrogen("resume", run)[0] == 0


@pytest.mark.parametrize("model", SAMPLING)
def test_train_sample_evaluate_resume(pyrogen, tmp_path, model):
    run = tmp_path / "run"
    data = RECIPES[model].example
    status, out, err = pyrogen("train", model, "--data", data, "--out", run, "--seed", 3, *SMALL, *flags(model))
    assert (status, out) == (0, "")
    assert "40/40" in err
    for name in ("config.toml", "metrics.jsonl", "curves.png", "samples/00000040.png", "checkpoint-00000040"):
        assert (run / name).exists(), name
    config = Run.open(run).config
    assert (config.model, config.data, config.seed, config.options["steps"]) == (model, data, 3, 40)
    assert [row["t"] for row in Run.open(run).metrics()] == list(range(1, 41))

    assert pyrogen("sample", run, "--n", 9, "--out", run / "a.png")[0] == 0
    with Image.open(run / "a.png") as sheet:
        assert sheet.size[0] > 100
    assert pyrogen("sample", run, "--n", 9, "--seed", 1, "--out", run / "a.npy")[0] == 0
    first = np.load(run / "a.npy")
    assert first.shape == (9, *load(data).shape)
    pyrogen("sample", run, "--n", 9, "--seed", 1, "--out", run / "b.npy")
    assert np.array_equal(first, np.load(run / "b.npy"))
    pyrogen("sample", run, "--n", 9, "--seed", 2, "--out", run / "b.npy")
    assert not np.array_equal(first, np.load(run / "b.npy"))

    status, out, _ = pyrogen("evaluate", run, "--json", "--k", 5)
    result = json.loads(out)
    assert status == 0
    assert {"model": model, "data": data, "split": "test", "n": len(load(data).test)}.items() <= result.items()
    kind = {"none": "estimate"}.get(RECIPES[model].likelihood, RECIPES[model].likelihood.replace(" ", "_"))
    score = result["scores"]["kde" if kind == "estimate" else "log_likelihood"]
    assert (score["kind"], score["unit"]) == (kind, "nats")
    assert ("log_likelihood" in result["scores"]) == (kind != "estimate")
    assert {"mmd2", "c2st", "nearest_neighbour"} <= result["scores"].keys()
    assert json.loads((run / "scores.json").read_text()) == result
    assert pyrogen("resume", run)[0] == 0


def test_evaluate_prints_a_table(pyrogen, tmp_path):
    assert pyrogen("train", "ppca", "--out", tmp_path / "run", *SMALL)[0] == 0
    status, out, _ = pyrogen("evaluate", tmp_path / "run")
    assert status == 0
    assert "log_likelihood" in out
    assert "= exact" in out


def test_compare_writes_one_scorecard(pyrogen, tmp_path):
    status, out, _ = pyrogen("compare", "gaussian", "gan", "--out", tmp_path / "c", "--json", *SMALL)
    assert status == 0
    card = json.loads(out)
    assert card == json.loads((tmp_path / "c" / "scores.json").read_text())
    assert list(card["models"]) == ["gaussian", "gan"]
    assert card["budget"] == {"steps": 40, "batch_size": 32, "seeds": [0]}
    assert card["models"]["gaussian"]["family"] == "explicit"
    assert card["models"]["gan"]["family"] == "implicit"
    assert "unreliable" in card["models"]["gan"]["scores"]["kde"]["note"]
    assert "log_likelihood" not in card["models"]["gan"]["scores"]
    for entry in card["models"].values():
        assert {"scores", "train_seconds", "parameters", "sample_seconds"} <= entry.keys()
    assert card["models"]["gan"]["weights"] == {"step": 40, "rule": "average of weights, with decay 0.998"}
    assert card["models"]["gaussian"]["weights"]["rule"] == "lowest validation loss"
    assert set(card["anchors"]) == {"train", "gaussian"}
    assert card["anchors"]["train"]["verdict"]["found"] == ["copies"]
    assert "off the data" in card["models"]["gan"]["verdict"]["found"]
    assert {"fid", "precision@classifier", "coverage"} <= card["models"]["gan"]["scores"].keys()
    assert card["comparisons"]["mmd2"][0]["models"] == ["gaussian", "gan"]
    page = (tmp_path / "c" / "report.html").read_text()
    assert "gaussian" in page
    assert "http" not in page.replace("http-equiv", "")
    status, out, _ = pyrogen("resume", tmp_path / "c")  # all is trained: it only measures and writes again
    assert status == 0
    assert "gaussian" in out
    assert "verdict on its samples" in out
    assert "off the data (p < .001)" in out


def test_compare_over_seeds_has_the_error_over_seeds(pyrogen, tmp_path):
    _, out, _ = pyrogen("compare", "gaussian", "--seeds", 2, "--features", "values", "--out", "c", "--json", *SMALL)
    entry = json.loads(out)["models"]["gaussian"]
    assert len(entry["weights"]["step"]) == 2
    score = entry["scores"]["log_likelihood"]
    assert score["seeds"] == 2
    assert score["stderr"] > 0
    assert "off the data (on 2 of 2 seeds)" in entry["verdict"]["sentence"]


def test_settings_from_a_file_and_before_it(pyrogen, tmp_path):
    pyrogen("train", "vae", "--out", tmp_path / "a", *SMALL, "--set", "hidden=8,6", "--set", "latent=2")
    config = tmp_path / "a" / "config.toml"
    status, _, err = pyrogen("train", "--config", config, "--out", tmp_path / "b", "--set", "latent=3")
    assert status == 0, err
    options = Run.open(tmp_path / "b").config.options
    assert (options["hidden"], options["latent"], options["steps"]) == ((8, 6), 3, 40)
    (tmp_path / "bad.toml").write_text("modle = 'vae'")
    status, _, err = pyrogen("train", "--config", tmp_path / "bad.toml")
    assert status == 2
    assert "did you mean 'model'" in err


def test_label_conditional_samples(pyrogen, tmp_path):
    pyrogen("train", "cvae", "--out", tmp_path / "run", *SMALL, *flags("cvae"))
    assert pyrogen("sample", tmp_path / "run", "--label", 3, "--n", 4)[0] == 0
    assert (tmp_path / "run" / "samples.png").exists()
    status, _, err = pyrogen("sample", tmp_path / "run", "--label", 10)
    assert status == 2
    assert "unknown class '10'" in err
    pyrogen("train", "vae", "--out", tmp_path / "vae", *SMALL, *flags("vae"))
    status, _, err = pyrogen("sample", tmp_path / "vae", "--label", 1)
    assert status == 2
    assert "class-conditional" in err


@pytest.mark.parametrize(
    "options",
    [
        ("cvae", "--precision", "bf16"),
        ("dcgan", "--precision", "bf16"),
        ("cvae", "--set", "condition=quadrants"),
        ("wgan", "--compile", "--set", "lipschitz=penalty"),
        ("cvae", "--compile"),
    ],
)
def test_other_ways_to_compute(pyrogen, tmp_path, options):
    model, *options = options
    status, _, err = pyrogen("train", model, "--out", tmp_path / "run", *SMALL, *flags(model), *options)
    assert status == 0, err
    assert "eagerly" not in err
    assert pyrogen("evaluate", tmp_path / "run", "--k", 2)[0] == 0
    assert pyrogen("sample", tmp_path / "run")[0] == 0


def test_another_data_set_of_another_measure_is_refused(pyrogen, tmp_path):
    pyrogen("train", "vae", "--out", tmp_path / "run", *SMALL, *flags("vae"))
    status, _, err = pyrogen("evaluate", tmp_path / "run", "--data", "digits-binary")
    assert status == 2
    assert "expected a density on [0, 1], 17 levels dequantised, as in the training data; got a mass on {0, 1}" in err


def picture(path, size=(8, 8), value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def folder(tmp_path, spoil):
    path = tmp_path / "pictures"
    for i in range(60):
        picture(path / f"{i}.png", value=i)
    spoil(path)
    return path


def array(tmp_path, x, **more):
    np.savez(tmp_path / "a.npz", x=x, **more)
    return tmp_path / "a.npz"


IMAGES = np.linspace(0, 1, 60 * 64, dtype=np.float32).reshape(60, 8, 8)


def spoilt(value):
    x = IMAGES.copy()
    x[3, 2, 1] = value
    return x


def truncate(path):
    Image.effect_noise((8, 8), 50).save(path / "z.png")
    (path / "z.png").write_bytes((path / "z.png").read_bytes()[:60])


BAD_DATA = {
    "no such set": (lambda p: "mnits", "did you mean 'mnist'"),
    "no such path": (lambda p: p / "nothing.npy", "nothing.npy"),
    "empty folder": (lambda p: (p / "empty").mkdir() or p / "empty", "empty"),
    "no images": (
        partial(folder, spoil=lambda f: [p.rename(p.with_suffix(".doc")) for p in f.iterdir()]),
        "expected image files",
    ),
    "truncated": (partial(folder, spoil=truncate), "z.png"),
    "text": (partial(folder, spoil=lambda f: (f / "z.png").write_text("hello")), "z.png"),
    "sizes": (partial(folder, spoil=lambda f: picture(f / "z.png", (9, 8))), "z.png"),
    "nan": (lambda p: array(p, spoilt(np.nan)), "NaN|not finite"),
    "range": (lambda p: array(p, spoilt(7.0)), r"\[0, 1\]"),
    "labels": (lambda p: array(p, IMAGES, y=np.linspace(0, 1, 60)), "expected labels, whole numbers or texts"),
    "label count": (lambda p: array(p, IMAGES, y=np.zeros(59, dtype=int)), "59"),
    "too few": (lambda p: array(p, IMAGES[:2]), "at least 3 rows"),
    "one": (lambda p: array(p, IMAGES[:1]), "1"),
    "none": (lambda p: array(p, IMAGES[:0]), "empty|no |0"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_clear_message(pyrogen, tmp_path, case):
    make, message = BAD_DATA[case]
    status, out, err = pyrogen("train", "vae", "--data", make(tmp_path), "--out", tmp_path / "run", *SMALL)
    assert (status, out) == (2, "")
    assert re.search(message, err), err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_sixteen_bit_pictures_are_read_right(pyrogen, tmp_path):
    values = np.random.default_rng(0).integers(0, 2**16, (60, 8, 8), dtype=np.uint16)
    (tmp_path / "deep").mkdir()
    for i, value in enumerate(values):
        Image.fromarray(value).save(tmp_path / "deep" / f"{i:02}.png")
    data = load(tmp_path / "deep")
    x = np.concatenate([split.tensors()[0].numpy() for split in (data.train, data.valid, data.test)])
    assert np.allclose(np.sort(x.ravel()), np.sort(values.ravel() / 65535), atol=1e-6)
    assert pyrogen("train", "vae", "--data", tmp_path / "deep", "--out", tmp_path / "r", *SMALL, *flags("vae"))[0] == 0


BAD_REQUESTS = {
    "model": (("train", "vea"), "did you mean 'vae'"),
    "option": (("train", "vae", "--set", "latnt=3"), "did you mean 'latent'"),
    "value": (("train", "vae", "--set", "latent=big"), "latent must be a valid integer; got 'big'"),
    "form": (("train", "vae", "--set", "latent"), "KEY=VALUE"),
    "batch": (("train", "vae", "--batch-size", "5000"), "--batch-size"),
    "steps": (("train", "vae", "--steps", "0"), "steps must be greater than 0; got 0"),
    "lr": (("train", "vae", "--lr", "-1"), "lr must be greater than 0; got -1.0"),
    "size": (("train", "vae", "--set", "hidden=8,0"), "hidden[1] must be greater than 0; got '0'"),
    "infinite": (("train", "vae", "--lr", "inf"), "lr must be a finite number; got inf"),
    "decay": (("train", "gan", "--set", "average=2"), "average must be less than 1; got '2'"),
    "nan": (("train", "gan", "--set", "r1=nan"), "r1 must be a finite number; got 'nan'"),
    "layers": (("train", "maf", "--set", "layers=-2"), "layers must be greater than 0; got '-2'"),
    "heads": (("train", "vqvae", "--set", "prior_width=30"), "prior_width must be a multiple of 4; got '30'"),
    "choice": (("train", "vae", "--set", "network=mpl"), "unknown network 'mpl'; did you mean 'mlp'?"),
    "union": (("train", "vae", "--set", "sigma=much"), "sigma must be a valid number or 'learned'; got 'much'"),
    "no model": (("train",), "no model given"),
    "options of": (("models", "vea"), "did you mean 'vae'"),
    "device": (("train", "vae", "--device", "tpu"), "device"),
    "precision": (("train", "vae", "--precision", "8"), "precision"),
    "measure": (("train", "gaussian", "--data", "digits-binary"), "mass"),
    "likelihood": (("train", "vae", "--set", "likelihood=bernoulli"), "mass"),
    "dcgan": (("train", "dcgan", "--data", "ring"), "needs images"),
    "dcgan r1": (("train", "dcgan", "--data", "digits", "--set", "r1=0.1"), "norm=layer"),
    "labels": (("train", "cvae", "--data", "ring"), "needs labels"),
    "no run": (("sample", "nowhere"), "holds neither a run"),
    "compare": (("compare", "gaussian", "wgna"), "did you mean 'wgan'"),
    "compare data": (("compare", "dcgan", "--data", "moons"), "needs images"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_mistaken_request_is_one_clear_message(pyrogen, tmp_path, case):
    arguments, message = BAD_REQUESTS[case]
    status, out, err = pyrogen(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_all_faults_of_a_request_are_named_at_once(pyrogen, tmp_path):
    (tmp_path / "c.toml").write_text("modle = 'vae'\nmodel = 'vae'\nseed = -1\n[options]\nlatent = 0\nhidden = []")
    status, _, err = pyrogen("train", "--config", tmp_path / "c.toml", "--lr", "inf", "--device", "tpu")
    assert status == 2
    faults = ["seed must be greater", "unknown device 'tpu'", "latent must be greater than 0; got 0"]
    faults += ["hidden must have at least 1 item", "lr must be a finite", "unknown key of c.toml 'modle'"]
    for fault in faults:
        assert fault in err


def test_a_file_of_a_newer_version_is_refused(pyrogen, tmp_path):
    (tmp_path / "c.toml").write_text("model = 'vae'\nversion = 3")
    status, _, err = pyrogen("train", "--config", tmp_path / "c.toml")
    assert status == 2
    assert "version 3" in err


def test_the_options_of_a_model_are_listed_with_limits_and_meanings(pyrogen):
    status, out, _ = pyrogen("models", "vae")
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    for option in RECIPES["vae"].options:
        assert option.default in lines[option.name]
        assert option.limits.replace("`", "") in lines[option.name]
    assert "dimension of z" in lines["latent"]


def test_misspelt_flags_and_commands_name_the_nearest(pyrogen):
    status, _, err = pyrogen("train", "vae", "--stepz", 3)
    assert status == 2
    assert "--steps" in err
    status, _, err = pyrogen("trian")
    assert status == 2
    assert "train" in err


def test_folders_that_cannot_be_used(pyrogen, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = pyrogen("train", "vae", "--out", tmp_path / "file" / "run", *SMALL)
    assert status == 2
    assert "cannot write" in err
    pyrogen("train", "gaussian", "--out", tmp_path / "run", *SMALL)
    status, _, err = pyrogen("train", "gaussian", "--out", tmp_path / "run", *SMALL)
    assert status == 2
    assert "pyrogen resume" in err


def test_lists(pyrogen):
    status, out, _ = pyrogen("models")
    assert status == 0
    assert all(name in out for name in RECIPES)
    status, out, _ = pyrogen("data")
    assert status == 0
    for name in ("digits", "mnist-logit", "fashion-mnist-binary", "cifar10", "checkerboard"):
        assert name in out
    assert pyrogen("--help")[0] == 0
    for command in ("models", "data", "train", "resume", "sample", "evaluate", "compare"):
        status, out, _ = pyrogen(command, "--help")
        assert status == 0
        assert "Usage" in out


def test_few_pictures_of_many_pixels_are_enough(pyrogen, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (30, 20, 20), dtype=np.uint8)
    np.save(tmp_path / "few.npy", values)
    arguments = ("gaussian", "gan", "--data", tmp_path / "few.npy", "--steps", 10, "--batch-size", 8)
    status, out, err = pyrogen("compare", *arguments, "--out", tmp_path / "c", "--json")
    assert status == 0, err
    scores = json.loads(out)["models"]["gan"]["scores"]
    assert "nearest_neighbour" in scores
    assert "c2st" not in scores


def test_lists_as_json(pyrogen):
    assert json.loads(pyrogen("models", "--json")[1])["vae"]["family"] == "explicit"
    assert json.loads(pyrogen("models", "vae", "--json")[1])["latent"]["default"] == "32"
    assert json.loads(pyrogen("data", "--json")[1])["digits"]["shape"] == "1x8x8"
    assert json.loads(pyrogen("experiment", "--json")[1]).keys() == EXPERIMENTS.keys()


def test_version(pyrogen):
    status, out, err = pyrogen("--version")
    assert (status, err) == (0, "")
    assert re.fullmatch(r"pyrogen \d+\.\d+\.\d+ \(torch \S+, Pyro \S+\)\n", out)


def test_a_sweep_is_a_comparison_of_every_combination(pyrogen, tmp_path, monkeypatch):
    prepared = []
    monkeypatch.setattr(compare, "run_and_show", lambda run, as_json, log: prepared.append(run))
    request = ("train", "vae", "--sweep", "--set", "latent=2,3", "--set", "hidden=8,4", "--set", "hidden=8")
    assert pyrogen(*request, "--lr", 0.01, "--steps", 5, "--seed", 2, "--out", tmp_path / "sweep")[0] == 0
    config = prepared[0].config
    widths, rest = ("hidden=8,4", "hidden=8"), "lr=0.01"
    assert config.models == tuple(f"vae:latent={z}:{width}:{rest}" for z in (2, 3) for width in widths)
    assert (config.steps, config.seed, prepared[0].path) == (5, 2, tmp_path / "sweep")
    for more, said in (
        (("--patience", 3), "it takes no patience"),
        (("--config", "a.toml"), "it takes no config"),
        (("--set", "lr=" + ",".join(map(str, range(1, 99)))), "got 392"),
        (("--set", "latnt=1,2"), "unknown option of vae 'latnt'"),
    ):
        status, _, err = pyrogen(*request, *more, "--out", tmp_path / "other")
        assert (status, err.count("\n")) == (2, 1)
        assert said in err
    assert "got 1\n" in pyrogen("train", "vae", "--sweep", "--set", "latent=2")[2]


def test_a_quiet_command_prints_nothing_but_errors_and_results(pyrogen, tmp_path):
    assert pyrogen("train", "vae", *SMALL, *flags("vae"), "--out", tmp_path / "run", "--quiet") == (0, "", "")
    assert pyrogen("resume", tmp_path / "run", "-q") == (0, "", "")
    assert "vae on digits: 40 steps → " in pyrogen("resume", tmp_path / "run")[2]
    status, out, err = pyrogen("train", "vae", "--out", tmp_path / "run", "-q")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_what_is_prepared_is_said_on_a_terminal_alone(monkeypatch):
    monkeypatch.setattr(console, "_quiet", False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for terminal in (True, False):
        err = console.PlainConsole(file=io.StringIO(), force_terminal=terminal, width=80)
        monkeypatch.setattr(console, "err", err)
        with console.preparing("vae on digits"):
            pass
        assert ("vae on digits: loading" in err.file.getvalue()) is terminal
