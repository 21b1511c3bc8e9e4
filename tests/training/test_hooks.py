"""Models and callbacks hear the same hooks, in order, in a loop and in one vectorised step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

import duda
from duda.hooks import FitState, Hooks
from duda.training import Callback
from tests.training.models import classes, mlp, noisy, plain, regression, same, values
from tests.training.test_checkpoint import cut_off_each_epoch

HOOKS = [name for name in vars(Hooks) if name.startswith("on_")]


class Heard:
    """Notes the hooks that are called, and the states."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, FitState]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def states(self, name: str) -> list[FitState]:
        return [state for called, state in self.calls if called == name]


def hearing(name: str) -> Any:
    def hook(self: Any, state: FitState) -> None:
        getattr(super(type(self), self), name, lambda state: None)(state)
        self.heard.calls.append((name, state))

    return hook


Model = type("Model", (duda.Deterministic,), {name: hearing(name) for name in HOOKS})
Watcher = type("Watcher", (), {name: hearing(name) for name in HOOKS})


def test_both_hear_all_in_order() -> None:
    model, watcher = Model(mlp(), duda.Gaussian()), Watcher()
    heard = model.heard = watcher.heard = Heard()
    duda.fit(
        model, regression(), epochs=2, batch_size=20, callbacks=[watcher], validation=regression(9)
    )
    epoch = ["on_epoch_start", *3 * ["on_step_end"], "on_epoch_end"]
    once = ["on_fit_start", *epoch, *epoch, "on_fit_end"]
    assert heard.names() == [name for name in once for _ in (model, watcher)]
    assert {state.examples for _, state in heard.calls} == {50}
    assert {state.epochs for _, state in heard.calls} == {2}
    assert {state.model for _, state in heard.calls} == {model}
    assert [state.epoch for state in heard.states("on_epoch_end")] == [0, 0, 1, 1]
    assert [state.step for state in heard.states("on_step_end")[::2]] == [1, 2, 3, 4, 5, 6]
    assert [state.step for state in heard.states("on_epoch_start")[::2]] == [0, 3]


def test_losses_are_told() -> None:
    model, watcher = Model(mlp(), duda.Gaussian()), Watcher()
    model.heard, watcher.heard = Heard(), Heard()
    history = duda.fit(
        model, regression(), epochs=2, batch_size=25, callbacks=[watcher], validation=regression(9)
    )
    ends = watcher.heard.states("on_epoch_end")
    assert [state.loss for state in ends] == history.losses[0].tolist()
    assert history.validation_losses is not None
    assert [state.validation_loss for state in ends] == history.validation_losses[0].tolist()
    assert all(state.validation_loss is None for state in model.heard.states("on_epoch_end"))
    steps = [state.loss for state in watcher.heard.states("on_step_end")]
    assert sum(steps[:2]) / 2 == pytest.approx(float(history.losses[0, 0]), rel=1e-12)


@pytest.mark.parametrize("vectorize", [False, True])
def test_members_are_told_of_their_own_steps(vectorize: bool) -> None:
    heard, weights = Heard(), []

    class Steps:
        def on_step_end(self, state: FitState) -> None:
            heard.calls.append(("on_step_end", state))
            weights.append(state.model.network[0].weight.detach().clone())

    torch.manual_seed(0)
    model = duda.DeepEnsemble(mlp, duda.Gaussian(), 2).double()
    data = regression(50, torch.float64)
    duda.fit(model, data, epochs=2, batch_size=25, seed=0, vectorize=vectorize, callbacks=[Steps()])
    states = sorted(heard.calls, key=lambda call: call[1].member)  # a stable sort
    assert [state.member for _, state in states] == 4 * [0] + 4 * [1]
    assert [state.step for _, state in states] == 2 * [1, 2, 3, 4]
    by_step = (
        weights
        if vectorize
        else [w for pair in zip(weights[:4], weights[4:], strict=True) for w in pair]
    )
    assert torch.equal(by_step[-2], model.members[0][0].weight)
    assert torch.equal(by_step[-1], model.members[1][0].weight)
    assert len({float(weight.sum()) for weight in weights}) == 8


@pytest.mark.parametrize("hook", ["on_step_end", "on_epoch_end", "on_epoch_start"])
def test_weights_that_a_hook_changes_are_trained_on(hook: str) -> None:
    def shrink(state: FitState) -> None:
        with torch.no_grad():
            state.model.network[0].weight.mul_(0.5 + 0.1 * state.member)

    watcher = type("Shrinks", (), {hook: staticmethod(shrink)})()
    found = []
    for vectorize in (False, True):
        torch.manual_seed(0)
        model = duda.DeepEnsemble(mlp, duda.Gaussian(), 2).double()
        data = regression(50, torch.float64)
        history = duda.fit(
            model, data, epochs=2, batch_size=25, seed=0, vectorize=vectorize, callbacks=[watcher]
        )
        found.append((values(model), history.losses))
    torch.testing.assert_close(*found)


def test_steps_are_counted_over_runs_that_are_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    class Steps:
        def on_step_end(self, state: FitState) -> None:
            steps.append(state.step)

    cut_off_each_epoch(
        plain,
        tmp_path / "run",
        monkeypatch,
        callbacks=lambda: [Steps()],
        epochs=3,
        batch_size=25,
        seed=0,
    )
    assert steps == [1, 2, 3, 4, 5, 6]


def test_batches_are_the_training_data_in_order() -> None:
    seen: list[Tensor] = []

    class Ends(Callback):
        def on_fit_end(self, state: FitState) -> None:
            assert not state.model.training
            seen.append(torch.cat([x for x, _ in state.training_batches()]))

    x, y = regression()
    duda.fit(plain(), (x, y), epochs=1, batch_size=16, callbacks=[Ends()])
    assert torch.equal(seen[0], x)
    with pytest.raises(ValueError, match=r"`state` has no `batches`.*model.on_fit_end"):
        FitState().training_batches()


def test_who_does_not_look_costs_no_pass_and_takes_streams() -> None:
    class Stream(IterableDataset[tuple[Tensor, Tensor]]):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            yield from zip(*regression(), strict=True)

    modes: list[bool] = []

    class Counted(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(x)

    model, watcher = duda.Deterministic(Counted(3, 2), duda.Gaussian()), Watcher()
    watcher.heard = Heard()
    duda.fit(model, Stream(), epochs=2, batch_size=25, callbacks=[watcher])
    assert modes == 4 * [True]
    assert watcher.heard.states("on_fit_start")[0].examples is None


def test_wrapped_models_are_told() -> None:
    x, y = classes()
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    for inner in (duda.Laplace(mlp(), duda.Categorical()), duda.SWAG(net, duda.Categorical())):
        model = duda.TestTimeAugmentation(inner)
        duda.fit(model, (x, y), epochs=4)
        assert bool((model.predict(x, seed=0).epistemic >= 0).all())
    for name in HOOKS:
        inner = Model(mlp(), duda.Gaussian())
        inner.heard = Heard()
        getattr(duda.TestTimeAugmentation(inner), name)(FitState(epoch=7))
        assert [(hook, state.epoch) for hook, state in inner.heard.calls] == [(name, 7)]


def test_a_callback_with_a_state_and_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counts(Callback):
        def __init__(self) -> None:
            self.epochs = 0

        def on_epoch_end(self, state: FitState) -> None:
            self.epochs += 1

        def state_dict(self) -> dict[str, Any]:
            return {"epochs": self.epochs}

        def load_state_dict(self, state: Any) -> None:
            self.epochs = state["epochs"]

    made: list[Counts] = []

    def callbacks() -> list[Any]:
        watcher = Watcher()
        watcher.heard = Heard()
        made.append(Counts())
        return [watcher, made[-1]]

    cut_off_each_epoch(plain, tmp_path / "run", monkeypatch, callbacks=callbacks, epochs=3, seed=0)
    assert made[-1].epochs == 3


@pytest.mark.parametrize("callback", [Callback, Watcher, object(), 3, duda.TrainingDynamics])
def test_what_has_no_hooks_or_is_a_class(callback: Any) -> None:
    with pytest.raises(TypeError, match=r"`callbacks` holds a .*, expected objects such as"):
        duda.fit(plain(), regression(), epochs=1, callbacks=[callback])


# Names of version 0.1.


def old_model() -> tuple[type[duda.Deterministic], list[Any]]:
    calls: list[Any] = []
    with pytest.warns(DeprecationWarning, match="is now") as caught:

        class Old(duda.SWAG):
            def starts_epoch(self, epoch: int | None, examples: int | None) -> None:
                super().starts_epoch(epoch, examples)
                calls.append(("starts", epoch, examples))

            def ends_epoch(self, epoch: int, epochs: int) -> None:
                super().ends_epoch(epoch, epochs)
                calls.append(("ends", epoch, epochs))

            def fitted(self, batches: Callable[[], Iterator[Any]]) -> None:
                super().fitted(batches)
                calls.append(("fitted", sum(len(y) for _, y in batches())))

    assert [str(warning.message) for warning in caught] == [
        "Old defines `starts_epoch`, which is now `on_epoch_start(self, state)`.",
        "Old defines `ends_epoch`, which is now `on_epoch_end(self, state)`.",
        "Old defines `fitted`, which is now `on_fit_end(self, state)`.",
    ]
    return Old, calls


def test_old_hooks_of_a_subclass_are_called() -> None:
    kind, calls = old_model()
    found = []
    for each in (kind, duda.SWAG):
        torch.manual_seed(0)
        model = each(noisy(), duda.Gaussian())
        duda.fit(model, regression(), epochs=3, seed=0)
        found.append(values(model))
    starts = [("starts", epoch, 50) for epoch in range(3)]
    ends = [("ends", epoch, 3) for epoch in range(3)]
    assert calls == [
        *(call for pair in zip(starts, ends, strict=True) for call in pair),
        ("fitted", 50),
    ]
    assert same(*found)


def test_old_hooks_can_be_called() -> None:
    x, y = regression()
    model = duda.SWAG(noisy(), duda.Gaussian(), start=0)
    for epoch in range(3):
        with pytest.warns(DeprecationWarning, match=r"`starts_epoch` is now `on_epoch_start"):
            model.starts_epoch(epoch, 50)
        assert model.training_epoch == epoch
        with pytest.warns(DeprecationWarning, match=r"`ends_epoch` is now `on_epoch_end"):
            model.ends_epoch(epoch, 3)
    with pytest.warns(DeprecationWarning, match=r"`fitted` is now `on_fit_end"):
        model.fitted(lambda: iter([(x, y)]))
    assert model.collected == 3
    assert bool(model.predict(x, seed=0).mean.isfinite().all())


def test_a_callback_of_the_old_kind_hears_what_it_did() -> None:
    told: list[Any] = []

    class Old:
        def starts_fit(self, examples: int) -> None:
            told.append(examples)

        def update(self, index: Tensor, outputs: Any = None, y: Any = None, **rest: Any) -> None:
            told.append((index.tolist(), tuple(outputs.shape), y.tolist(), rest))

        def end_epoch(self, member: int = 0) -> None:
            told.append(member)

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None: ...

    x, y = classes(4)
    model = duda.Deterministic(mlp(), duda.Categorical())
    with pytest.warns(DeprecationWarning, match="Old has `starts_fit`, `update` and `end_epoch`"):
        duda.fit(model, (x, y), epochs=1, callbacks=[Old()])
    assert told == [4, ([0, 1, 2, 3], (4, 2), y.tolist(), {"member": 0}), 0]
