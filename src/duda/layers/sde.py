"""Neural SDE, layers with noise between them: a path of a stochastic differential equation."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.checks import check_above_0, check_count
from duda.layers.dynamics import takes_time

__all__ = ["SDEBlock"]


class SDEBlock(nn.Module):
    """Returns the end of one path of dh = f(t, h) dt + g(h₀) dW, new for each example and call.

    By Euler and Maruyama's h ← h + f(t, h) Δ + g(h₀) √Δ z, where z is standard normal and
    g = `sigma_max` · sigmoid(diffusion(h₀)). Source: Kong et al. 2020, algorithm 1; its code trains
    with a `sigma_max` of 20 and predicts with larger ones.

    Args:
        drift: a module for f, called with `(t, h)`, or with `h` if its `forward` takes no more; it
            returns what has the shape of h, `(N, ...)`.
        diffusion: a module from h₀ to one logit for each example, `(N, 1)`.
        steps: how many steps there are from time 0 to `t1`.
        t1: the time at the end.
        sigma_max: the largest g, in units of the state for a path of time 1.
        eval_sigma_max: that of eval mode, and so of predictions; `sigma_max` if not given.
        relative: whether both are in units of the states' scale, so that they mean the same
            whatever that is: the root mean square of the first batch in training, of each state
            until then.

    >>> block = SDEBlock(nn.Linear(3, 3), nn.Linear(3, 1))
    >>> block(torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    scale: Tensor

    def __init__(
        self,
        drift: nn.Module,
        diffusion: nn.Module,
        steps: int = 8,
        t1: float = 1.0,
        sigma_max: float = 1.0,
        *,
        eval_sigma_max: float | None = None,
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.takes_time = takes_time(drift, "drift")
        if takes_time(diffusion, "diffusion"):
            raise TypeError(
                f"`diffusion` is a {type(diffusion).__name__} whose `forward` needs 2 arguments, "
                "expected `forward(self, h)`: it sees only the start of the path."
            )
        self.drift, self.diffusion = drift, diffusion
        self.steps = check_count(steps, "steps")
        self.t1 = check_above_0(t1, "t1")
        self.sigma_max = check_above_0(sigma_max, "sigma_max")
        self.eval_sigma_max = eval_sigma_max
        if eval_sigma_max is not None:
            check_above_0(eval_sigma_max, "eval_sigma_max")
        self.relative = relative
        self.register_buffer("scale", torch.zeros(()) if relative else None)  # 0 is not known yet

    def forward(self, h: Float[Tensor, "N *state"]) -> Float[Tensor, "N *state"]:
        """Return the state at `t1`."""
        step = self.t1 / self.steps
        largest = self.sigma_max
        if not self.training and self.eval_sigma_max is not None:
            largest = self.eval_sigma_max
        noise = largest * math.sqrt(step) * self.diffusion_logits(h).sigmoid()
        if self.relative:
            noise = noise * self._scale_of(h.detach())
        noise = noise.reshape(-1, *[1] * (h.ndim - 1))
        for i in range(self.steps):
            h = h + step * self._rate(i * step, h) + noise * torch.randn_like(h)
        return h

    def _scale_of(self, h: Float[Tensor, "N *state"]) -> Float[Tensor, "N 1"]:
        """Return the unit of the noise, and remember it in training."""
        squares = h.flatten(1).square().mean(1, keepdim=True)
        if self.training:
            self.scale.copy_(self.scale.where(self.scale > 0, squares.mean().sqrt()))
        return torch.where(self.scale > 0, self.scale, squares.sqrt())

    def diffusion_logits(self, h: Float[Tensor, "N *state"]) -> Float[Tensor, "N 1"]:
        """Return what the diffusion network says of paths that start at `h`.

        Raises:
            ValueError: if it does not return one number for each example.
        """
        logits: Tensor = self.diffusion(h)
        if h.ndim < 2 or logits.shape != (h.shape[0], 1):
            raise ValueError(
                f"`diffusion` returned shape {tuple(logits.shape)} for states of shape "
                f"{tuple(h.shape)}, expected ({len(h)}, 1), one logit for each example: end it in "
                "`nn.Linear(..., 1)`, after `nn.Flatten()` where the states have positions."
            )
        return logits

    def _rate(self, time: float, h: Tensor) -> Tensor:
        if not self.takes_time:
            rate: Tensor = self.drift(h)
        else:
            rate = self.drift(torch.tensor(time, dtype=h.dtype, device=h.device), h)
        if rate.shape != h.shape:
            raise ValueError(
                f"`drift` returned shape {tuple(rate.shape)}, expected that of the state, "
                f"{tuple(h.shape)}."
            )
        return rate

    def extra_repr(self) -> str:
        """Return the settings, for `repr`."""
        names = ("steps", "t1", "sigma_max", "eval_sigma_max", "relative")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)
