"""The operator decompositions of compiled graphs, and the values and gradients that graphs return."""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from pyrogen.compile.graph import decompositions
from pyrogen.compile.graph import products as onednn
from pyrogen.compile.graph.aot_graph import compile_with_gradients

PRODUCT = torch.ops.pyrogen.product.default


@pytest.fixture
def onednn_is_faster(monkeypatch):
    """Pretend that oneDNN is faster on this processor."""
    monkeypatch.setattr(onednn, "FASTER_MATMUL", {onednn.processor(): 2.0})
    monkeypatch.setattr(onednn, "MIN_FLOPS", 4096)


def traced(rows):
    a, b, bias = torch.randn(rows, 16), torch.randn(16, 8), torch.randn(8)
    graph = make_fx(lambda a, b, bias: torch.addmm(bias, a, b) + a @ b, tracing_mode="fake")(a, b, bias)
    onednn.use_onednn(graph)
    return graph, (a, b, bias)


@pytest.mark.parametrize(("rows", "products"), [(16, 2), (15, 0)])
def test_large_products_use_onednn(onednn_is_faster, rows, products):
    graph, (a, b, bias) = traced(rows)
    assert sum(node.target is PRODUCT for node in graph.graph.nodes) == products
    assert torch.allclose(graph(a, b, bias), 2 * (a @ b) + bias, atol=1e-5)


def test_other_processors_keep_torch_mm(monkeypatch):
    monkeypatch.setattr(onednn, "FASTER_MATMUL", {})
    graph, _ = traced(64)
    assert not any(node.target is PRODUCT for node in graph.graph.nodes)


def test_gradients_of_a_compiled_network(onednn_is_faster):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10)), torch.randn(64, 20)
    graph = compile_with_gradients(lambda x: (net(x).square().mean(),), (x,))
    (value,), gradients = graph(x)
    exact = net(x).square().mean()
    exact.backward()
    assert float(value) == pytest.approx(exact.item(), rel=1e-5)
    for weight, gradient in zip(graph.weights, gradients, strict=True):
        assert torch.allclose(gradient, weight.grad, atol=1e-6)


def test_what_cannot_be_one_file_is_compiled_by_default(monkeypatch, caplog):
    caplog.set_level("INFO")
    options, compile = [], torch._inductor.compile

    def without_one_file(graph, inputs, **given):
        options.append(given["options"])
        if "cpp_wrapper" in given["options"]:
            raise RuntimeError("not in one file")
        return compile(graph, inputs, **given)

    monkeypatch.setattr("torch._inductor.compile", without_one_file)
    w = torch.ones(3, requires_grad=True)
    graph = compile_with_gradients(lambda x: ((w * x).sum(),), (torch.ones(3),))
    (value,), (gradient,) = graph(torch.arange(3.0))
    assert (float(value), gradient.tolist()) == (3.0, [0.0, 1.0, 2.0])
    assert len(options) == 2
    assert options[1].keys() < options[0].keys()
    assert "compiled by default options: not in one file" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decompositions_are_accurate(dtype):
    """Relative to the exact value, also where it is small; ``exp`` itself has the error of its argument."""
    h = torch.cat([torch.linspace(-60, 60, 4001), torch.tensor([0.0, -1e-8, 1e-8, -80.0, 80.0])]).to(dtype)
    exact, x = h.double(), torch.rand(len(h), dtype=dtype)
    tiny, infinite = (
        torch.tensor(1e-37, dtype=torch.float64),
        torch.tensor([torch.nan, torch.inf, -torch.inf], dtype=dtype),
    )
    pairs = [
        (decompositions.softplus(h), nn.functional.softplus(exact, threshold=700)),
        (decompositions.log_sigmoid(h)[0], nn.functional.logsigmoid(exact)),
        (decompositions.sigmoid(h), exact.sigmoid()),
        (decompositions.log_1_plus(h.sigmoid()), h.sigmoid().double().log1p()),
        (decompositions.binary_cross_entropy_with_logits(h, (h > 0).to(dtype), reduction=0),
         nn.functional.softplus(-exact.abs(), threshold=700)),
    ]  # fmt: skip
    precision = torch.finfo(dtype).eps
    for found, expected in pairs:
        assert found.dtype == dtype
        assert ((found.double() - expected) / expected.abs().maximum(tiny)).abs().max() < 8 * precision
    assert torch.equal(decompositions.sigmoid(infinite).nan_to_num(7), torch.tensor([7.0, 1.0, 0.0], dtype=dtype))
    assert torch.isfinite(decompositions.binary_cross_entropy_with_logits(h, x))
