"""Compiled code as a CUDA graph: all kernels of a call, the update of the weights among them, in one launch.

A recording reads and writes fixed places in memory. Weights and the state of an optimiser are used where they are;
batches are copied to the places first. Random numbers are drawn afresh in each replay, by the generator as it is then.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from pyrogen.compile.preserving import preserve_state

log = logging.getLogger(__name__)

REPLAYED = ("cuda",)
"""The types of devices whose kernels can be recorded."""
MOST = 8
"""The most recordings of one graph; a program that moves its weights more often runs without."""

Run = Callable[..., Sequence[Tensor]]
Replayed = tuple[Sequence[Tensor], Callable[[], object]]


def record(function: Callable[[], Sequence[Tensor]]) -> Replayed:
    """Record the kernels of ``function``; return its outputs, which a replay overwrites, and the replay.

    The function is called three times, the last of them without running its kernels.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries allocate their workspaces in the first calls
        for _ in range(2):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function()
    return outputs, graph.replay


def can_be_replayed(traced: GraphModule, inputs: Sequence[Any]) -> bool:
    """Whether everything but constants is computed on one device whose kernels can be recorded.

    A recording would keep the values that a tensor of another device has now.
    """
    devices = {t.device for t in inputs if isinstance(t, Tensor)}
    constants: set[Node] = set()
    for node in traced.graph.nodes:
        if node.op != "call_function":
            continue
        tags = getattr(node.target, "tags", ())
        if torch.Tag.nondeterministic_seeded not in tags and constants.issuperset(node.all_input_nodes):
            constants.add(node)
            continue
        values = node.meta.get("val")
        values = values if isinstance(values, tuple | list) else (values,)
        devices |= {value.device for value in values if isinstance(value, Tensor)}
    return len(devices) == 1 and all(device.type in REPLAYED for device in devices)


class Replay:
    """Compiled code that is recorded, and replayed as long as the tensors that it uses in place stay where they are.

    Args:
        run: the compiled code; its arguments have the same shapes and dtypes in all calls.
        copied: the arguments that may be in another place in each call; the others are used, and written, in place.

    Attributes:
        refused: why it is not recorded; ``None`` while it is.
    """

    def __init__(self, run: Run, copied: slice) -> None:
        self.refused: str | None = None
        self._run, self._copied = run, copied
        self._recordings = 0
        self._addresses: list[int] | None = None
        self._copies: list[Tensor] = []
        self._outputs: Sequence[Tensor] = ()
        self._replay: Callable[[], object] | None = None

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """The outputs of ``run(*tensors)``, which the next call overwrites."""
        if self.refused is not None:
            return self._run(*tensors)
        addresses = [t.data_ptr() for t in (*tensors[: self._copied.start], *tensors[self._copied.stop :])]
        if addresses != self._addresses:
            self._record(tensors)
            self._addresses = addresses
        if self._replay is None:
            return self._run(*tensors)
        for copy, tensor in zip(self._copies, tensors[self._copied], strict=True):
            copy.copy_(tensor)
        self._replay()
        return self._outputs

    def _record(self, tensors: Sequence[Tensor]) -> None:
        """Record the code; the values of all tensors, and the random state, stay as they are."""
        self._replay = None
        if self._recordings == MOST:
            self.refused = f"its tensors have moved in memory {MOST} times"
            return
        self._recordings += 1
        self._copies = [t.clone() for t in tensors[self._copied]]
        places = list(tensors)
        places[self._copied] = self._copies
        try:
            with preserve_state(places):
                self._outputs, self._replay = record(lambda: self._run(*places))
        except RuntimeError as error:
            self.refused = next(iter(str(error).splitlines()), type(error).__name__)
            log.warning("compiled code runs without a CUDA graph: %s", self.refused)
