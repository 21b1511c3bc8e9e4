"""Neural ODE, infinitely many layers: the state that an ordinary differential equation ends in."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.checks import check_count, nearest
from duda.layers.dynamics import takes_time

__all__ = ["ODEBlock"]

_ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
_FIXED = ("euler", "midpoint", "heun3", "rk4", "explicit_adams", "implicit_adams")


class ODEBlock(nn.Module):
    """Returns h(t1), where dh/dt = f(t, h) and h(0) is the input, of any shape.

    Solvers that choose their steps choose them for the whole batch. Dropout inside `dynamics` draws
    at each evaluation, which only solvers with fixed steps can follow, and not with `adjoint`.
    Draws run one by one from the block on. Source: Chen et al. 2018, eq. 2; solved by torchdiffeq.

    Args:
        dynamics: a module for f, called with `(t, h)`, or with `h` if its `forward` takes no more.
        solver: a name that torchdiffeq knows.
        rtol: relative tolerance of solvers that choose their steps.
        atol: absolute tolerance of these, in units of the state.
        t1: the time at the end.
        steps: how many steps the other solvers take.
        adjoint: solve backwards for gradients, in memory that does not grow with the steps.

    >>> ODEBlock(nn.Identity(), "rk4")(torch.ones(1))  # dh/dt = h ends in e
    tensor([2.7183])
    """

    def __init__(
        self,
        dynamics: nn.Module,
        solver: str = "dopri5",
        rtol: float = 1e-3,
        atol: float = 1e-4,
        t1: float = 1.0,
        steps: int = 10,
        adjoint: bool = False,
    ) -> None:
        super().__init__()
        if solver not in _ADAPTIVE + _FIXED:
            raise ValueError(f"`solver`: {nearest(str(solver), _ADAPTIVE + _FIXED, 'solver')}")
        for name, value in (("rtol", rtol), ("atol", atol), ("t1", t1)):
            if not 0 < value < math.inf:
                raise ValueError(f"`{name}` is {value}, expected a number above 0.")
        self.takes_time = takes_time(dynamics, "dynamics")
        self.dynamics = dynamics
        self.solver, self.rtol, self.atol = solver, rtol, atol
        self.t1, self.steps, self.adjoint = t1, check_count(steps, "steps"), adjoint

    def forward(self, h: Float[Tensor, "*state"]) -> Float[Tensor, "*state"]:
        """Return the state at `t1`."""
        from torchdiffeq import odeint, odeint_adjoint

        options = {} if self.solver in _ADAPTIVE else {"grid_constructor": self._grid}
        solved: Tensor = (odeint_adjoint if self.adjoint else odeint)(
            _Rate(self.dynamics, self.takes_time),
            h,
            torch.tensor([0.0, self.t1], dtype=h.dtype, device=h.device),
            rtol=self.rtol,
            atol=self.atol,
            method=self.solver,
            options=options,
        )
        return solved[-1]

    def _grid(self, rate: nn.Module, h: Tensor, t: Tensor) -> Tensor:
        """Return the times to step at, forwards or, for gradients, backwards."""
        way = torch.linspace(0, 1, self.steps + 1, dtype=t.dtype, device=t.device)
        return t[0] + (t[-1] - t[0]) * way

    def extra_repr(self) -> str:
        """Return the settings, for `repr`."""
        precision = (
            f"rtol={self.rtol}, atol={self.atol}"
            if self.solver in _ADAPTIVE
            else f"steps={self.steps}"
        )
        return f"solver={self.solver!r}, {precision}, t1={self.t1}, adjoint={self.adjoint}"


class _Rate(nn.Module):
    """The dynamics as torchdiffeq calls them; a module, whose weights the adjoint method finds."""

    def __init__(self, dynamics: nn.Module, takes_time: bool) -> None:
        super().__init__()
        self.dynamics = dynamics
        self.takes_time = takes_time

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        rate: Tensor = self.dynamics(t, h) if self.takes_time else self.dynamics(h)
        return rate
