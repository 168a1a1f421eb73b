"""Precisions other than float32: what they set, on which device, and that the settings of torch are restored."""

import pytest
import torch

import pyrogen
from pyrogen.errors import ConfigError
from pyrogen.training import autocast

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def settings():
    backends = torch.backends
    places = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.cuda.matmul, backends.cudnn.conv)
    return [place.fp32_precision for place in places]


@pytest.fixture
def amx(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)


@pytest.mark.parametrize(
    ("precision", "device", "changed"),
    [("bf16-products", CPU, {0: "bf16", 1: "bf16"}), ("tf32", GPU, {2: "tf32", 3: "tf32"})],
)
def test_products_are_rounded_inside_and_the_settings_restored(amx, precision, device, changed):
    before = settings()

    def fail():
        with autocast(precision, device):
            assert settings() == [changed.get(i, value) for i, value in enumerate(before)]
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert settings() == before


def test_a_step_runs_with_rounded_products_and_what_is_between_steps_does_not(amx):
    before, seen = settings(), []

    def step(x):
        seen.append(settings())
        assert (x @ x.T).dtype is torch.float32
        return {"loss": torch.zeros(())}

    for _ in pyrogen.fit(step, torch.ones(8, 3), steps=3, batch_size=4, precision="bf16-products"):
        assert settings() == before
    assert [s[0] for s in seen] == ["bf16"] * 3


def test_a_compiled_step_has_rounded_products(amx):
    data = pyrogen.load("digits-binary")
    vae = pyrogen.explicit.VAE(data.shape, latent=2, hidden=(8,))
    step = pyrogen.SVI(vae.model, vae.guide, compile=True)
    losses = [float(logs["loss"]) for _, logs in pyrogen.fit(step, data.train, steps=6, precision="bf16-products")]
    assert step.refused is None
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("fp8", CPU, "unknown precision 'fp8'"),
        ("tf32", CPU, "'tf32' is for a GPU, 'bf16-products' for a CPU; got 'tf32' on cpu"),
        ("bf16-products", GPU, "got 'bf16-products' on cuda"),
    ],
)
def test_a_precision_that_a_device_lacks_is_refused(amx, precision, device, message):
    with pytest.raises(ConfigError, match=message):
        autocast(precision, device)


def test_rounded_products_are_refused_on_a_cpu_without_amx(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(ConfigError, match=r"AMX.*use '32', or 'bf16'"):
        autocast("bf16-products", CPU)
