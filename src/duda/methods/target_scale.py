"""Target scale of a model: what its network learns from in units of targets, kept with both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self, TypeGuard

import torch
from torch import Tensor, nn

from duda.hooks import FitState
from duda.likelihoods import Categorical, Likelihood, TargetScale
from duda.methods.annealing import Annealing
from duda.methods.buffers import KeepsDtype

__all__ = ["NETWORKS", "KeepsTargetScale", "TargetUnits"]

NETWORKS = ("network", "networks", "members")  # attributes of models
_UNITS = "_duda_units"  # a network's attribute, which copies of it have, too


class TargetUnits(KeepsDtype):
    """The units of a network's outputs, in buffers, which all models around it share.

    Of classes these are weights, as counted in the training targets.
    """

    mean: Tensor
    std: Tensor
    balance: Tensor

    def __init__(self, scale: TargetScale | None = None) -> None:
        super().__init__()
        self.register_buffer("balance", torch.zeros(0).double())
        self.set(scale)

    def set(self, scale: TargetScale | None) -> None:
        """Take other units; None for those of the target, for which the buffers are empty."""
        self.scale = scale
        for name in ("mean", "std"):
            value = torch.zeros(0).double() if scale is None else getattr(scale, name)
            self.register_buffer(name, value)

    def _from_buffers(self) -> None:
        self.set(TargetScale(self.mean, self.std) if self.mean.numel() else None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._from_buffers()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("mean", "std", "balance"):
            buffer = getattr(self, name)
            there = state_dict.setdefault(prefix + name, buffer)  # states of 0.1 have none
            setattr(self, name, buffer.new_empty(there.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._from_buffers()


class KeepsTargetScale(Annealing, KeepsDtype):
    """Holds a likelihood, and the scale of its targets, if these are numbers.

    The scale belongs to the network, whose outputs have it for units, so that another model around
    it knows what they mean.
    """

    target_units: TargetUnits
    given_likelihood: Likelihood  # without anything that is learned

    def hold(self, likelihood: Likelihood) -> None:
        """Take a likelihood; one that has no scale keeps that which there is."""
        self.given_likelihood = likelihood.with_target_scale(None)
        if not (likelihood.takes_scale or _counts_classes(likelihood)):
            return
        if "target_units" not in self._modules:
            self.target_units = TargetUnits()
        if likelihood.target_scale is not None:
            self.target_units.set(likelihood.target_scale)

    @property
    def target_scale(self) -> TargetScale | None:
        """The units of the outputs; None where they are the target's own, as before a training.

        `on_fit_start` finds it in the training data, unless it is set before. Losses take targets
        in their own units, as ever.
        """
        return self.target_units.scale if "target_units" in self._modules else None

    @target_scale.setter
    def target_scale(self, scale: TargetScale | None) -> None:
        found = self.given_likelihood.with_target_scale(scale)  # which may refuse it
        if "target_units" in self._modules:
            self.target_units.set(found.target_scale)

    @property
    def scaled_likelihood(self) -> Likelihood:
        """The likelihood with the scale or counted classes, but nothing else that is learned."""
        if _counts_classes(self.given_likelihood):
            return replace(self.given_likelihood, balance=self.target_units.balance)
        return self.given_likelihood.with_target_scale(self.target_scale)

    @property
    def learns_scale(self) -> bool:
        """Whether a training may choose the units, as where all of the network learns in them."""
        return "target_units" in self._modules and self.given_likelihood.takes_scale

    def on_fit_start(self, state: FitState) -> None:
        """Find the scale of the targets, or take that which is given.

        One that the model has stays, unless the targets are of another order.
        """
        super().on_fit_start(state)
        if _counts_classes(self.given_likelihood) and state.batches is not None:
            found = self.given_likelihood.balance_of(y for _, y in state.batches())
            self.target_units.balance = found.to(self.target_units.balance.device)
        if state.target_scale != "auto":
            self.target_scale = state.target_scale
        elif state.batches is not None and self.learns_scale:
            batches = state.batches
            scale = self.given_likelihood.find_scale(lambda: (y for _, y in batches()))
            if self.target_scale is None or not self.target_scale.near(scale):
                self.target_scale = scale
                return
        if state.batches is not None:
            batches = state.batches
            self.scaled_likelihood.look_at_targets(lambda: (y for _, y in batches()))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        shares = name in NETWORKS and isinstance(value, nn.Module)
        if shares and "target_units" in self._modules:
            self._share_units(list(value) if isinstance(value, nn.ModuleList) else [value])

    def _share_units(self, networks: list[nn.Module]) -> None:
        """Have the units in common with networks, and with other models around these."""
        brought = [vars(network)[_UNITS] for network in networks if _UNITS in vars(network)]
        scales = [each.scale for each in (self.target_units, *brought) if each.scale is not None]
        for scale in scales:
            if scale != scales[0]:
                raise ValueError(
                    f"a network was trained with {scale}, expected {scales[0]} as for the others: "
                    "give each `duda.fit` the same `target_scale=duda.TargetScale.of(y)`."
                )
        for units in brought:
            same = units is brought[0]  # as a rule, where no number need be read
            if not same and not torch.equal(units.balance, brought[0].balance):
                raise ValueError(
                    "networks were trained with weights of classes that were counted in different "
                    "targets, expected the same: give `Categorical(weight=[...])`."
                )
        if brought:
            self.target_units = brought[0]
        if scales and self.target_scale is None:
            self.target_units.set(scales[0])
        for network in networks:
            vars(network)[_UNITS] = self.target_units


def _counts_classes(likelihood: Likelihood) -> TypeGuard[Categorical]:
    """Return whether a training is to count the classes."""
    return isinstance(likelihood, Categorical) and likelihood.weight == "balanced"
