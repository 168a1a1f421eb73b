"""BatchNorm of a batch of which each of several processes has a part."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from pyrogen import ranks


def batch_norm_over_ranks(modules: Iterable[nn.Module]) -> AbstractContextManager[object]:
    """A context in which BatchNorm in training takes statistics of the whole batch, if one of ``modules`` is one.

    ``nn.SyncBatchNorm`` runs on GPUs alone, and its gradient has no gradient, which a penalty of a critic needs.
    """
    return _BatchNormOverRanks() if any(isinstance(module, _BatchNorm) for module in modules) else nullcontext()


class _BatchNormOverRanks(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (_batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    mine = ranks.share()
    if not training or mine is None:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    dims = [0, *range(2, x.ndim)]
    form = (1, -1, *[1] * (x.ndim - 2))
    n = mine.total * x.shape[0] // mine.rows * (x.numel() // (x.shape[0] * x.shape[1]))
    values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    centre = ranks.total(values.sum(dims)) / n
    centred = values - centre.view(form)
    variance = ranks.total(centred.square().sum(dims)) / n
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(centre.to(running_mean.dtype), momentum)
        if running_var is not None:
            running_var.lerp_((variance * (n / max(n - 1, 1))).to(running_var.dtype), momentum)
    out = centred * torch.rsqrt(variance + eps).view(form)
    out = out if weight is None else out * weight.view(form)
    out = out if bias is None else out + bias.view(form)
    return out.to(x.dtype)
