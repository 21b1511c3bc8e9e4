"""Networks with several outputs and a joint likelihood: every method, one pass, own loops."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import duda
from duda import Joint, UncertainModel
from duda.methods import METHODS
from tests.heads import CLASSES, FEATURES, TwoHeads, both, some_data

TAKERS = [name for name, method in METHODS.items() if issubclass(Joint, method.likelihoods)]


def built(method: str, likelihood: Joint | None = None, form: str = "dict") -> UncertainModel:
    torch.manual_seed(0)
    return METHODS[method].from_factory(lambda: TwoHeads(form), likelihood or both())


def same(one: Any, other: Any) -> bool:
    a, b = one.numpy(), other.numpy()
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


@pytest.mark.parametrize("weights", [None, "learned"])
@pytest.mark.parametrize("method", TAKERS)
def test_every_method_trains_and_predicts(method: str, weights: Any, tmp_path: Path) -> None:
    model, (x, y) = built(method, both(weights=weights)), some_data()
    history = duda.fit(model, (x, y), epochs=2, lr=0.01, seed=0, validation=(x, y))
    assert history.losses.isfinite().all()
    assert history.validation_losses.isfinite().all()
    answer = model.predict(x[:5], seed=0, keep_draws=True)
    assert answer["class"].probs.shape == (5, CLASSES)
    assert answer["box"].mean.shape == (5, 2)
    assert len(answer["class"].draws) == len(answer["box"].draws)
    again = duda.load(duda.save(model, tmp_path / "model"), TwoHeads)
    assert again.given_likelihood == model.given_likelihood
    assert same(again.predict(x[:5], seed=0, keep_draws=True), answer)
    learned = model.likelihood.loss_weights()
    assert (learned["class"] != 1) == (weights == "learned")
    assert again.likelihood.loss_weights() == learned


@pytest.mark.parametrize("method", [name for name in METHODS if name not in TAKERS])
def test_others_say_what_they_take(method: str) -> None:
    with pytest.raises(ValueError, match=r"`likelihood` is a Joint, expected for a .* Categorical"):
        built(method)


@pytest.mark.parametrize("method", TAKERS)
def test_one_pass_serves_all_outputs(method: str) -> None:
    """Count how often each head is called: as often as that of a network with a single output."""
    if method == "sde-net":
        pytest.skip("its head is called by a copy")
    (x, _), counts = some_data(), []
    for likelihood, factory in (
        (both(), TwoHeads),
        (duda.Laplacian(), lambda: duda.layers.Outputs(TwoHeads(), "box")),
    ):
        torch.manual_seed(0)
        model = METHODS[method].from_factory(factory, likelihood)
        if method == "swag":
            model.collect(), model.collect()
        for seed in (0, 1):
            rows: list[int] = []
            hooks = [
                module.register_forward_hook(lambda m, given, out, r=rows: r.append(len(given[0])))
                for name, module in model.named_modules()
                if name.endswith(("trunk.0", "box")) and isinstance(module, nn.Linear)
            ]
            model.predict(x, seed=seed)
            for hook in hooks:
                hook.remove()
        counts.append(rows)
    assert counts[0] == counts[1] != []


def test_the_trunk_runs_once_for_all_draws_and_heads() -> None:
    model, (x, _) = built("mc-dropout"), some_data()
    model.predict(x, seed=0)  # which measures the network
    rows: list[int] = []
    model.network.trunk[0].register_forward_hook(lambda m, given, out: rows.append(len(given[0])))
    model.predict(x, samples=20, seed=0)
    assert rows == [len(x)]


def test_draws_of_all_outputs_are_the_same_draws() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.5), nn.Linear(8, 4))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            found = self.trunk(x)
            return found, 2 * found

    model = duda.MCDropout(Twice(), Joint({"one": duda.Laplacian(), "two": duda.Laplacian()}))
    answer = model.predict(some_data()[0], seed=0, samples=7, keep_draws=True, joint=True, chunk=3)
    one, two = (answer[name].draws[:, :, :2] for name in answer.names)
    torch.testing.assert_close(two, 2 * one)
    assert answer.joint
    assert answer["two"].joint
    assert one.std(0).min() > 0


def test_tuples_are_taken_in_order_and_by_chunks_all_the_same() -> None:
    x, _ = some_data()
    answer = built("mc-dropout").predict(x, seed=0)
    for chunk in (None, 3):
        found = built("mc-dropout", form="tuple").predict(x, seed=0, chunk=chunk)
        for name in answer.names:
            torch.testing.assert_close(found[name].score, answer[name].score)


@pytest.mark.parametrize("weights", [None, {"class": 1.0, "box": 0.5}, "learned"])
@pytest.mark.parametrize("method", TAKERS)
def test_a_loop_of_ones_own(method: str, weights: Any) -> None:
    model, (x, y) = built(method, both(weights=weights)).train(), some_data()
    model.on_fit_start(duda.training.FitState(examples=len(x), batches=lambda: iter([(x, y)])))
    assert model.target_scale is not None
    loss = model.loss(x, y)
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())
    torch.manual_seed(3)
    one = model.loss(x, y)
    torch.manual_seed(3)
    torch.testing.assert_close(model.loss(x, tuple(y.values()), torch.ones(len(x))), one)
    assert bool(model.validation_loss(x, y).isfinite())
    with pytest.raises(ValueError, match=r"the targets `y` are 'class', .*: 'box' is missing"):
        model.loss(x, {"class": y["class"]})


def still() -> nn.Module:
    """Return a network without dropout."""
    made = TwoHeads()
    made.trunk[2] = nn.Identity()
    return made


def as_items(x: Tensor, y: dict[str, Tensor]) -> list[Any]:
    return [(x[i], {name: each[i] for name, each in y.items()}) for i in range(len(x))]


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x.numpy(), {name: each.numpy() for name, each in y.items()}),
        lambda x, y: (x, tuple(y.values())),
        lambda x, y: {"x": x, "labels": y},
        lambda x, y: DataLoader(as_items(x, y), batch_size=128),
        lambda x, y: DataLoader([{"x": a, "y": b} for a, b in as_items(x, y)], batch_size=128),
    ],
)
def test_data_come_in_any_form(form: Callable[..., Any]) -> None:
    x, y = some_data()
    losses = []
    for data in ((x, y), form(x, y)):
        torch.manual_seed(0)
        model = duda.Deterministic(still(), both())
        losses.append(duda.fit(model, data, epochs=2, seed=0, target_scale=None).losses)
    torch.testing.assert_close(losses[0], losses[1])


def test_a_target_that_misses_a_name_is_told_before_training() -> None:
    x, y = some_data()
    with pytest.raises(ValueError, match=r"the targets `y` are 'class', .*: 'box' is missing"):
        duda.fit(built("mc-dropout"), (x, {"class": y["class"]}), epochs=1)
    with pytest.raises(ValueError, match=r"have shape \(12,\), expected targets for 'class'"):
        duda.fit(built("mc-dropout"), (x, y["class"]), epochs=1)
    model = built("mc-dropout", Joint({"class": duda.Categorical(), "depth": duda.Gaussian()}))
    told = "the network's outputs are 'class' and 'box', expected .*: 'depth' is missing"
    with pytest.raises(ValueError, match=told):
        model.predict(x)


def test_compare_takes_one_output() -> None:
    with pytest.raises(TypeError, match=r"`likelihood` is a Joint of 'class' and 'box', expected"):
        duda.compare(some_data(), likelihood=both(), epochs=1)


def test_examples_have_weights_and_networks_may_be_compiled() -> None:
    x, y = some_data()
    network = still()
    model = duda.Deterministic(network, both())
    duda.fit(model, (x, y), epochs=1, seed=0, sample_weight=torch.rand(len(x)))
    compiled = duda.Deterministic(torch.compile(network, backend="eager"), both())
    compiled.target_scale = model.target_scale
    assert same(compiled.predict(x), model.predict(x))


def test_each_part_has_units_of_its_own() -> None:
    x, y = some_data(200)
    y = {"class": y["class"], "box": 1e5 + 1e3 * y["box"]}
    model = built("deterministic")
    duda.fit(model, (x, y), epochs=30, lr=0.02, seed=0)
    error = (model.predict(x)["box"].mean - y["box"]).abs().mean()
    assert error < 1500
    scale = duda.TargetScale.of(y["box"])
    other = built("deterministic")
    duda.fit(other, (x, y), epochs=1, seed=0, target_scale={"box": scale})
    assert other.target_scale == scale
    torch.testing.assert_close(model.target_scale.std, scale.std)


def test_learned_weights_are_those_that_minimize_the_loss() -> None:
    x, y = some_data(200)
    model = duda.Deterministic(still(), both(weights="learned"))
    duda.fit(model, (x, y), epochs=80, lr=0.05, seed=0)
    loss = duda.Categorical().loss(model.network(x)["class"].detach(), y["class"])
    assert model.likelihood.loss_weights()["class"] == pytest.approx(1 / (2 * float(loss)), rel=0.3)


def test_a_training_that_stops_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    class Stop(duda.training.Callback):
        when = -1

        def on_epoch_end(self, state: duda.training.FitState) -> None:
            if state.epoch == self.when and state.member == 1:
                raise KeyboardInterrupt

    (x, y), models = some_data(), []
    for file in (None, tmp_path / "run", tmp_path / "run"):
        stop = Stop()
        stop.when = 1 if file is not None and not file.exists() else -1
        models.append(built("deep-ensemble", both(weights="learned")))
        with suppress(KeyboardInterrupt):
            duda.fit(
                models[-1],
                (x, y),
                epochs=4,
                lr=0.02,
                seed=0,
                batch_size=4,
                checkpoint=file,
                callbacks=[stop],
            )
    states = [model.state_dict() for model in (models[0], models[2])]
    assert not torch.equal(
        states[0]["members.2.box.bias"], models[1].state_dict()["members.2.box.bias"]
    )
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_metrics_of_a_training_get_targets_by_name() -> None:
    (x, y), model = some_data(), built("mc-dropout")

    def right(answer: Any, y: Any) -> float:
        return float((answer["class"].labels == y["class"]).double().mean())

    history = duda.fit(
        model, (x, y), epochs=2, seed=0, validation=(x, y), metrics={"accuracy": right}
    )
    assert 0 <= float(history.metrics["accuracy"][0, -1]) <= 1


def test_members_in_one_step_learn_the_same() -> None:
    (x, y), states = some_data(), []
    for vectorize in (False, True):
        torch.manual_seed(0)
        model = duda.DeepEnsemble(still, both(), members=3)
        duda.fit(model, (x, y), epochs=2, seed=0, vectorize=vectorize)
        states.append(model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value)


def test_capture_and_half_precision() -> None:
    x, _ = some_data()
    model = built("mc-dropout")
    plain = model.predict(x, seed=0)
    prepared = model.prepare(x).predict(x, seed=0)
    for name in plain.names:
        torch.testing.assert_close(prepared[name].score, plain[name].score)
    short = built("mc-dropout", both(weights="learned")).to(torch.bfloat16)
    assert short.loss_weights.log_variances.dtype == torch.float32
    found = short.predict(x, seed=0)
    assert found["box"].mean.dtype == torch.float32
    torch.testing.assert_close(found["class"].probs, plain["class"].probs, atol=0.05, rtol=0)


class Pixels(nn.Module):
    """Classes of all pixels and a number for each picture, of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.whole = nn.Conv2d(1, CLASSES, 3, padding=1), nn.Linear(1, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"class": self.each(x), "mean": self.whole(x.mean((2, 3)))}


def test_pictures_of_other_sizes_keep_their_positions() -> None:
    likelihood = Joint({"class": duda.Categorical(ignore_index=9), "mean": duda.Gaussian()})
    model = duda.Deterministic(Pixels(), likelihood)
    x = torch.randn(8, 1, 4, 6)
    y = {"class": torch.randint(CLASSES, (8, 4, 6)), "mean": x.mean((2, 3))}
    y["class"][0] = 9
    duda.fit(model, (x, y), epochs=1, seed=0)
    for shape in ((6, 4), (4, 6), (2, 12), (3, 5)):
        pictures = torch.randn(3, 1, *shape)
        expected = model.network(pictures)["class"].softmax(1)
        found = model.predict(pictures)["class"]
        torch.testing.assert_close(found.probs, expected.detach())


def test_versions_are_undone_on_outputs_by_name() -> None:
    likelihood = Joint({"class": duda.Categorical(), "mean": duda.Gaussian()})
    flip = lambda x: x.flip(-1)  # noqa: E731
    undo = lambda found: found | {"class": found["class"].flip(-1)}  # noqa: E731
    torch.manual_seed(0)
    network = Pixels()
    with torch.no_grad():
        network.each.weight.copy_((network.each.weight + network.each.weight.flip(-1)) / 2)
    model = duda.TestTimeAugmentation(network, likelihood, [lambda x: x, (flip, undo)])
    x = torch.randn(3, 1, 4, 6)
    found = model.predict(x, seed=0)["class"].probs
    torch.testing.assert_close(found, network(x)["class"].softmax(1).detach())
    torn = duda.TestTimeAugmentation(network, likelihood, [(flip, lambda found: found["class"])])
    with pytest.raises(ValueError, match=r"what `transforms\[0\]\[1\]` returned are one tensor"):
        torn.predict(x)


def test_a_network_has_several_outputs_or_one() -> None:
    network = TwoHeads()
    duda.MCDropout(network, both())
    with pytest.raises(ValueError, match=r"with the outputs 'class' and 'box', expected one with"):
        duda.MCDropout(network, duda.Categorical())
    alone = duda.MCDropout(duda.layers.Outputs(network, "class"), duda.Categorical())
    x, _ = some_data()
    found = duda.MCDropout(copy.deepcopy(network), both()).predict(x, seed=0)
    torch.testing.assert_close(alone.predict(x, seed=0).probs, found["class"].probs)
