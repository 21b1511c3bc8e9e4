"""Eligibility of members for a vectorized step, in place of one member after the other."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from duda.likelihoods import Joint, Likelihood
from duda.methods import Deterministic, UncertainModel
from duda.methods.target_scale import TargetUnits
from duda.preservation import modes_kept
from duda.training.data import LoaderData, TensorData
from duda.training.optimizers import ELEMENTWISE, decay_groups, make_optimizer
from duda.training.settings import Training
from duda.training.vectorized import stack, stack_buffers, stacked_losses

__all__ = ["choose", "obstacle"]

_log = logging.getLogger(__name__)

# Layers that gain from one large matrix product for all members (benchmarks/training.py).
_FAST: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.LayerNorm,
    nn.BatchNorm1d,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softmax,
    nn.LogSoftmax,
)
# Their vectorized form is a grouped convolution, which is slow on a CPU.
_FAST_ON_A_GPU = (nn.Conv1d, nn.Conv2d, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # whose buffers torch.vmap writes to

_LOSSES = (
    *(UncertainModel.loss, UncertainModel.training_loss, UncertainModel.validation_loss),
    *(Likelihood.loss, Joint.loss, None),  # a likelihood has no other
)

# Weights of a member; with more the cores are busy with one member, and the caches too small.
_LARGE_ON_A_CPU = 50_000


def choose(
    vectorize: bool | None,
    parts: list[UncertainModel],
    data: TensorData | LoaderData,
    training: Training,
) -> bool:
    """Return whether to train all members as one step: if it can be done, and is faster.

    Raises:
        ValueError: if `vectorize` is True, but that cannot be.
    """
    if vectorize is False or (vectorize is None and not _faster(parts)):
        return False
    why = obstacle(parts, data, training)
    if vectorize and why:
        raise ValueError(f"`vectorize` is True, but {why}: leave it out to train in turn.")
    if why:
        _log.info("the members train one after the other, because %s", why)
    return why is None


def _faster(parts: list[UncertainModel]) -> bool:
    fast, weights = _FAST, sum(weight.numel() for weight in parts[0].parameters())
    if next(parts[0].parameters()).device.type == "cpu":
        if weights > _LARGE_ON_A_CPU:
            return False
    else:
        fast += _FAST_ON_A_GPU
    leaves = [module for module in parts[0].modules() if not any(module.children())]
    return len(parts) > 1 and all(type(module) in (*fast, TargetUnits) for module in leaves)


def obstacle(
    parts: list[UncertainModel],
    data: TensorData | LoaderData,
    training: Training,
) -> str | None:
    """Return why one step over stacked weights would not do the same as a loop, if it would not."""
    if len(parts) < 2:
        return "`model` has no members that train one without the other"
    if not isinstance(data, TensorData):
        return "`data` is no pair of tensors"
    if isinstance(data.x, dict):
        return "the inputs have names"
    if data.on_host:
        return "the device has no room for the inputs"
    if training.precision is not None:
        return "`precision` is by torch.autocast, which does not reach into torch.vmap"
    for name in ("compile", "channels_last"):
        if getattr(training, name):
            return f"`{name}` is for networks that are called one by one"
    for owner in (owner for part in parts for owner in (part, part.likelihood)):
        # The step calls none of these: it takes the likelihood's unchecked formula.
        for name in ("loss", "training_loss", "validation_loss"):
            if getattr(getattr(owner, name, None), "__func__", None) not in _LOSSES:
                return f"{type(owner).__name__} has a loss of its own"
    for part in parts:
        if type(part).sampler is not Deterministic.sampler:
            return f"{type(part).__name__} has draws of its own"
    if any(not _alike(parts[0], part) for part in parts[1:]):
        return "the members differ in structure"
    names = [name for name, _ in parts[0].named_parameters(remove_duplicate=False)]
    if len(names) > len(list(parts[0].parameters())):
        # torch.func.functional_call does not always put such a weight back.
        return "a weight of the network has two names"
    weights = [weight for part in parts for weight in part.parameters()]
    if len({id(weight) for weight in weights}) < len(weights):
        return "members share weights"
    if not all(weight.requires_grad for weight in weights):
        return "some weights require no gradient"
    strange = _kind_with_buffers(parts[0])
    if strange is not None:
        return f"the network has buffers of a {strange}, as only BatchNorm may"
    if any(_hooked(part) for part in parts):
        return "the network or a weight has hooks"
    stacked = stack(parts)
    made = [
        make_optimizer(
            training.optimizer,
            training.lr,
            each,
            decay_biases=training.decay_biases,
            stacked=of_all,
        )
        for each, of_all in ((parts[0].parameters(), False), (stacked.values(), True))
    ]
    if not _elementwise(made[0], made[1], parts[0], training):
        return f"{type(made[0]).__name__} is not known to treat each weight alone and alike"
    return _failure(parts, stacked, data)


def _kind_with_buffers(part: UncertainModel) -> str | None:
    """Return the kind of a module of the network with buffers that are not those of BatchNorm."""
    for name, module in part.named_modules():
        own = any(True for _ in module.buffers(recurse=False))
        if own and f"{name}.".startswith("network.") and type(module) not in _NORMS:
            return type(module).__name__
    return None


def _hooked(part: nn.Module) -> bool:
    """Return whether a call or a gradient of the member does more than the modules say.

    Stacked weights are new tensors, and only the first member is called.
    """
    modules = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    weights = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return any(getattr(m, name) for m in part.modules() for name in modules) or any(
        getattr(weight, name) for weight in part.parameters() for name in weights
    )


def _elementwise(
    single: Optimizer, stacked: Optimizer, part: UncertainModel, training: Training
) -> bool:
    """Return whether both optimizers do the same to every weight, and nothing besides."""
    sizes = [len(group) for group in decay_groups([*part.parameters()], training.decay_biases)]
    for made in (single, stacked):
        hooked = made._optimizer_step_pre_hooks or made._optimizer_step_post_hooks
        if type(made) not in ELEMENTWISE or hooked or "step" in vars(made):
            return False
        if [len(group["params"]) for group in made.param_groups] != sizes:
            return False
    # An optimizer made by the weights' shapes has other settings for stacked ones.
    one, other = (
        [{**group, "params": None} for group in made.param_groups] for made in (single, stacked)
    )
    return one == other


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two modules have the same classes, settings, and names and kinds of weights.

    Anything that cannot be compared counts as different.
    """
    a, b = dict(one.named_modules()), dict(other.named_modules())
    if a.keys() != b.keys() or any(type(a[name]) is not type(b[name]) for name in a):
        return False
    shapes = [
        [(name, weight.shape, weight.dtype, weight.device) for name, weight in m.named_parameters()]
        for m in (one, other)
    ]
    return shapes[0] == shapes[1] and all(_settings_alike(a[name], b[name]) for name in a)


def _settings_alike(one: nn.Module, other: nn.Module) -> bool:
    a, b = (
        {name: value for name, value in vars(module).items() if name not in vars(nn.Module())}
        for module in (one, other)
    )
    return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, tuple):
        return (
            type(a) is type(b)
            and len(a) == len(b)
            and all(map(_equal, a, b))  # shapes and the like
        )
    if isinstance(a, (bool, int, float, str)):
        return type(a) is type(b) and a == b
    # A likelihood is a frozen dataclass: equal if its settings are.
    frozen = getattr(type(a), "__dataclass_params__", None)
    return frozen is not None and frozen.frozen and bool(a == b)


def _failure(
    parts: list[UncertainModel], weights: dict[str, Tensor], data: TensorData
) -> str | None:
    """Return why a step on two examples fails in training mode, if it does."""
    rows = torch.arange(min(2, len(data.y))).expand(len(parts), -1).to(data.y.device)
    try:
        with modes_kept(parts[0].modules()), warnings.catch_warnings():
            parts[0].train()
            warnings.simplefilter("error")  # vmap warns where it has to loop
            tensors = weights | stack_buffers(parts)
            losses, _ = stacked_losses(parts[0], tensors, data.x_rows(rows), data.y[rows])
            torch.autograd.grad(losses.sum(), list(weights.values()), allow_unused=True)
    except (RuntimeError, ValueError, TypeError, Warning) as error:
        return f"the network does not run under torch.vmap ({str(error).splitlines()[0]:.120s})"
    return None
