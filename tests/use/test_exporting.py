"""Exported graphs and weights give what the model gives, in a process that cannot import pyrogen."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from recipe_cases import small, suited
from safetensors import safe_open

import pyrogen
from pyrogen.errors import ConfigError, RunError
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.recipes import RECIPES
from pyrogen.use.codes import needs_y
from pyrogen.use.exporting import export, export_weights, parts

GRAPHS = {
    "vae": ("decoder", "encoder"),
    "cvae": ("decoder", "encoder"),
    "gan": ("decoder",),
    "cgan": ("decoder",),
    "pca": ("decoder", "encoder"),
    "vqvae": ("decoder", "encoder"),
    "realnvp": ("encoder", "log_prob"),
    "spline": ("log_prob",),
    "pixelcnn": ("log_prob",),
    "gaussian": ("log_prob",),
    "histogram": ("log_prob",),
}
"""Recipes of every family, with the parts of each that are exported here."""
BLOCKED = """
import sys
sys.modules["pyrogen"] = None  # importing it raises an error
import numpy as np, torch
for name in sys.argv[1:]:
    given = np.load(name + ".npz")
    inputs = [torch.from_numpy(given[key]) for key in given.files if key != "expected"]
    found = torch.export.load(name + ".pt2").module()(*inputs)
    expected = torch.from_numpy(given["expected"])
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max())), name
"""


def trained(name: str):
    """A model after two steps, and its data."""
    torch.manual_seed(0)
    setup = RECIPES[name](suited(name), **{**small(name), "steps": 2, "batch_size": 32})
    for _ in pyrogen.fit(setup.step, setup.data.train, steps=2, batch_size=32):
        pass
    return setup.model.eval(), setup.data


def inputs_of(model, data, part: str, n: int):
    """The first n test data, or their codes or draws of z, with labels where the model takes them."""
    x, *y = (given[:n] for given in data.test.tensors())
    y = y if needs_y(model) else []
    if part != "decoder":
        return x, *y
    return (model.prior(n) if not hasattr(model, "decode") else drop_extra_args(model.encode)(x, *y)), *y


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Graphs of every part in both forms, with 11 rows of inputs and what the model makes of them."""
    folder, written = tmp_path_factory.mktemp("graphs"), []
    for name, chosen in GRAPHS.items():
        model, data = trained(name)
        for part in chosen:
            place = folder / f"{name}-{part}"
            for suffix in (".pt2", ".onnx"):
                export(model, data, place.with_suffix(suffix), part)
            inputs = inputs_of(model, data, part, 11)
            with torch.no_grad():
                expected = parts(model)[part](*inputs)
            np.savez(
                place.with_suffix(".npz"), *(given.detach().numpy() for given in inputs), expected=expected.numpy()
            )
            written.append(place)
    return written


def test_graphs_of_torch_give_the_same_without_pyrogen(files) -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED, *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_graphs_of_onnx_give_the_same_in_onnxruntime(files) -> None:
    for place in files:
        given = np.load(place.with_suffix(".npz"))
        session = onnxruntime.InferenceSession(place.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
        names = [part.name for part in session.get_inputs()]
        inputs = [given[key] for key in given.files if key != "expected"]
        (found,) = session.run(None, dict(zip(names, inputs, strict=True)))
        assert found.shape == given["expected"].shape
        assert np.abs(found - given["expected"]).max() <= 1e-5 * max(1.0, np.abs(given["expected"]).max()), place.name


def test_what_cannot_be_exported_is_refused(tmp_path) -> None:
    model, data = trained("vae")
    for path, part, said in (
        ("a.pt", "decoder", r"expected a file \.pt2 or \.onnx; got 'a\.pt'"),
        ("a.pt2", "decodr", "unknown part 'decodr'; did you mean 'decoder'"),
        ("a.pt2", "log_prob", "a VAE has no log_prob; it has: decoder, encoder"),
    ):
        with pytest.raises(ConfigError, match=said):
            export(model, data, tmp_path / path, part)
    model, data = trained("mixture")
    with pytest.raises(ConfigError, match=r"ONNX has no operator for a part of the graph .*; \.pt2 has all"):
        export(model, data, tmp_path / "a.onnx", "log_prob")
    assert list(tmp_path.iterdir()) == []


def test_a_pixelcnn_has_its_density_alone(tmp_path) -> None:
    model, data = trained("pixelcnn")
    with pytest.raises(ConfigError, match="a PixelCNN has no decoder; it has: log_prob"):
        export(model, data, tmp_path / "a.pt2")


def test_a_graph_with_other_outputs_is_not_written(tmp_path, monkeypatch) -> None:
    model, data = trained("pca")
    wrong = torch.export.load
    monkeypatch.setattr(torch.export, "load", lambda file: Shifted(wrong(file)))
    with pytest.raises(ConfigError, match=r"differs from the model's by .*: it is not written"):
        export(model, data, tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


class Shifted:
    """A graph whose outputs are wrong by a thousandth."""

    def __init__(self, graph) -> None:
        self.graph = graph

    def module(self):
        return lambda *inputs: self.graph.module()(*inputs) + 1e-3


def test_weights_have_a_card_that_other_tools_read(tmp_path) -> None:
    run = pyrogen.train("vae", out=tmp_path / "run", **{**small("vae"), "steps": 2})
    folder = export_weights(run, tmp_path / "card")
    with safe_open(folder / "model.safetensors", "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert file.metadata()["format"] == "pt"
    assert all(torch.equal(stored[name], tensor) for name, tensor in run.model.state_dict().items())
    assert json.loads((folder / "config.json").read_text())["options"]["latent"] == 3
    assert yaml.safe_load((folder / "README.md").read_text().split("---")[1]) == {
        "library_name": "pyrogen",
        "tags": ["pyro", "pytorch", "deep-generative-model", "vae", "explicit"],
        "pipeline_tag": "unconditional-image-generation",
    }
    score = {"value": 70.25, "stderr": 0.5, "kind": "lower_bound", "unit": "nats"}
    (run.path / "scores.json").write_text(json.dumps({"scores": {"log_likelihood": score}}))
    text = (export_weights(run, tmp_path / "again") / "README.md").read_text()
    (model,) = yaml.safe_load(text.split("---")[1])["model-index"]
    assert model["results"][0]["metrics"] == [{"type": "log_likelihood", "value": 70.25, "name": "log_likelihood"}]
    assert "| log_likelihood | 70.25 | 0.5 | lower bound | nats |" in text
    with pytest.raises(RunError, match="not an empty folder"):
        export_weights(run, tmp_path / "again")
