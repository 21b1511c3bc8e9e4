"""Callbacks see what the model says after each epoch, and change nothing of the training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
)

import duda
from duda.difficulty import TrainingDynamics
from duda.hooks import FitState, Hooks
from duda.likelihoods import LIKELIHOODS
from duda.methods import METHODS
from duda.training import Callback
from tests.pairs import PAIRS, as_targets, takes_labels
from tests.training.models import (
    classes,
    mlp,
    noisy,
    plain,
    regression,
    same,
    seeded_model,
    values,
)
from tests.training.test_checkpoint import cut_off_each_epoch

SCORES = ("action", "forgetting", "aum", "el2n", "confidence", "variability", "correctness")


class Seen:
    """A callback that keeps all it is told."""

    def __init__(self) -> None:
        self.examples: int | None = 0
        self.batches: list[FitState] = []
        self.ends: list[int] = []

    def on_fit_start(self, state: FitState) -> None:
        self.examples = state.examples

    def on_outputs(self, state: FitState) -> None:
        assert state.outputs is not None
        self.batches.append(state)

    def on_epoch_end(self, state: FitState) -> None:
        self.ends.append(state.member)

    def state_dict(self) -> dict[str, Any]:
        return {"ends": self.ends}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ends = list(state["ends"])


def classifier(
    network: Callable[[], nn.Module] = mlp, members: int | None = None
) -> duda.UncertainModel:
    if members is None:
        return seeded_model(lambda: duda.Deterministic(network(), duda.Categorical()))
    return seeded_model(lambda: duda.DeepEnsemble(network, duda.Categorical(), members))


def equal(one: TrainingDynamics, other: TrainingDynamics, names: tuple[str, ...] = SCORES) -> bool:
    return all(torch.equal(one.score(name), other.score(name)) for name in names)


def test_the_protocol() -> None:
    assert issubclass(Callback, Hooks)
    for callback in (TrainingDynamics(50), Seen(), Callback()):
        duda.fit(classifier(), classes(), epochs=1, callbacks=[callback])


# Each method with both kinds of targets, and each likelihood with one method.
SOME = [
    (method, likelihood)
    for method, likelihood in PAIRS
    if method == "deterministic" or likelihood in ("categorical", "gaussian")
]


@pytest.mark.parametrize(("method", "likelihood"), SOME)
def test_training_is_the_same_bits_with_callbacks(method: str, likelihood: str) -> None:
    meaning = LIKELIHOODS[likelihood]()
    x, y = classes(20) if takes_labels(meaning) else regression(20)
    y = as_targets(meaning, y)
    width = meaning.width(2 if takes_labels(meaning) else 1)

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, width)
        )

    dynamics, found = TrainingDynamics(20), []
    for callbacks in ([], [dynamics]):
        model = seeded_model(lambda: METHODS[method].from_factory(network, meaning))
        with torch.random.fork_rng():
            torch.manual_seed(5)
            history = duda.fit(
                model, (x, y), epochs=2, batch_size=8, callbacks=callbacks, validation=(x, y)
            )
            rest = torch.rand(3)
        found.append({**values(model), "losses": history.losses, "rest": rest})
    assert same(*found)
    assert dynamics.counts.tolist() == [2 * len(model.independent())] * 20
    assert bool(dynamics.action.isfinite().all())
    if takes_labels(meaning):
        assert bool(((dynamics.confidence > 0) & (dynamics.confidence < 1)).all())


@pytest.mark.parametrize("network", [mlp, noisy])
def test_scores_are_those_of_the_model_after_each_epoch(network: Callable[[], nn.Module]) -> None:
    x, y = classes()
    dynamics = TrainingDynamics(50)
    duda.fit(
        classifier(network), (x, y), epochs=4, seed=1, batch_size=16, lr=0.02, callbacks=[dynamics]
    )
    by_hand = TrainingDynamics(50)
    for epochs in range(1, 5):
        model = classifier(network)
        duda.fit(model, (x, y), epochs=epochs, seed=1, batch_size=16, lr=0.02)
        model.eval()
        with torch.no_grad():
            by_hand.update(torch.arange(50), model(x), y)
        by_hand.end_epoch()
    assert dynamics.correctness.unique().numel() > 1
    for name in SCORES:
        torch.testing.assert_close(dynamics.score(name), by_hand.score(name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("patience", [None, 1])
def test_one_vectorised_step_shows_what_the_loop_shows(patience: int | None) -> None:
    x, y = classes(40, torch.float64)
    found = []
    for vectorize in (False, True):
        model, dynamics = classifier(members=3).double(), TrainingDynamics(40)
        history = duda.fit(
            model,
            (x, y),
            epochs=12,
            lr=0.05,
            batch_size=16,
            seed=2,
            patience=patience,
            validation=patience and classes(30, torch.float64),
            vectorize=vectorize,
            callbacks=[dynamics],
        )
        lengths = (~history.losses.isnan()).sum(1)
        assert dynamics.counts.tolist() == [int(lengths.sum())] * 40
        found.append(dynamics)
    assert patience is None or lengths.unique().numel() > 1
    for name in SCORES:
        torch.testing.assert_close(found[0].score(name), found[1].score(name))


def test_members_are_told_one_by_one() -> None:
    for vectorize, ends in ((False, [0, 0, 1, 1]), (True, [0, 1, 0, 1])):
        seen = Seen()
        duda.fit(classifier(members=2), classes(), epochs=2, vectorize=vectorize, callbacks=[seen])
        assert seen.examples == 50
        assert seen.ends == ends
        assert [batch.member for batch in seen.batches] == ends


class Items(Dataset[tuple[Tensor, Tensor]]):
    """A map-style data set that is no TensorDataset."""

    def __init__(self) -> None:
        self.x, self.y = classes()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


LOADERS: dict[str, Callable[[], Any]] = {
    "dataset": Items,
    "shuffled": lambda: DataLoader(Items(), 16, shuffle=True),
    "own generator": lambda: DataLoader(
        Items(), 16, shuffle=True, generator=torch.Generator().manual_seed(1)
    ),
    "last dropped": lambda: DataLoader(Items(), 16, shuffle=True, drop_last=True),
    "batch sampler": lambda: DataLoader(
        Items(), batch_sampler=BatchSampler(RandomSampler(Items()), 10, drop_last=False)
    ),
    "subset": lambda: DataLoader(Items(), 16, sampler=SubsetRandomSampler(range(30))),
    "workers": lambda: DataLoader(Items(), 16, shuffle=True, num_workers=1),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_examples_come_once_each_and_in_the_order_of_the_data(kind: str) -> None:
    seen, models = Seen(), [classifier(noisy), classifier(noisy)]
    duda.fit(models[0], LOADERS[kind](), epochs=2, seed=0, callbacks=[seen])
    duda.fit(models[1], LOADERS[kind](), epochs=2, seed=0)
    assert same(*map(values, models))
    x, y = classes()
    index = torch.cat([batch.outputs.index for batch in seen.batches])
    assert index.tolist() == 2 * list(range(50))
    labels = torch.cat([batch.outputs.y for batch in seen.batches])
    assert torch.equal(labels, y.repeat(2))
    models[0].eval()
    said = torch.cat([batch.outputs.log_probs for batch in seen.batches])[50:]
    torch.testing.assert_close(said, models[0](x).detach().log_softmax(1))


def test_a_loader_goes_on_where_it_would_have() -> None:
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(Items(), 16, shuffle=True, generator=generator)
    duda.fit(classifier(), loader, epochs=1, seed=0, callbacks=[Seen()])
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(1).get_state())


def test_regression_gives_the_loss_of_each_example() -> None:
    x, y = regression()
    model, seen = plain(), Seen()
    duda.fit(model, (x, y), epochs=1, seed=0, callbacks=[seen], target_scale=None)
    (batch,) = seen.batches
    assert batch.outputs.log_probs is None
    mean, raw = model(x).detach().double().chunk(2, 1)
    variance = F.softplus(raw) + model.likelihood.floor  # type: ignore[operator]
    expected = -torch.distributions.Normal(mean, variance.sqrt()).log_prob(y)
    torch.testing.assert_close(
        batch.outputs.losses["loss"].double(), expected.squeeze(1), rtol=1e-4, atol=1e-5
    )


def test_soft_labels_give_losses() -> None:
    x, y = classes()
    shares = torch.stack([0.3 + 0.4 * y, 0.7 - 0.4 * y], 1)
    model, dynamics = classifier(), TrainingDynamics(50)
    history = duda.fit(
        model, (x, shares), epochs=1, seed=0, callbacks=[dynamics], validation=(x, shares)
    )
    assert history.validation_losses is not None
    assert dynamics.action.mean() == pytest.approx(float(history.validation_losses[0, 0]), rel=1e-6)
    with pytest.raises(ValueError, match="only losses were recorded"):
        dynamics.aum  # noqa: B018


def test_segmentation_with_an_index_to_ignore() -> None:
    x, y = torch.randn(12, 1, 4, 4), torch.randint(3, (12, 4, 4))
    y[0] = y[1, 0] = -1
    model = duda.Deterministic(nn.Conv2d(1, 3, 3, padding=1), duda.Categorical(ignore_index=-1))
    dynamics = TrainingDynamics(12, ignore_index=-1)
    duda.fit(model, (x, y), epochs=2, seed=0, callbacks=[dynamics])
    assert dynamics.counts.tolist() == [0] + [2] * 11


def test_cost_is_one_pass_for_all_callbacks() -> None:
    calls = []

    class Counted(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            calls.append((self.training, len(x)))
            return super().forward(x)

    model = classifier(lambda: Counted(3, 2))
    callbacks = [Seen(), TrainingDynamics(50), TrainingDynamics(50, el2n_epoch=1)]
    duda.fit(model, classes(), epochs=3, batch_size=25, seed=0, callbacks=callbacks)
    shown = [size for training, size in calls if not training and size > 2]
    assert shown == [25] * 6


MODELS: dict[str, Callable[[], duda.UncertainModel]] = {
    "dropping": lambda: seeded_model(lambda: duda.MCDropout(noisy(), duda.Categorical())),
    "in-turn": lambda: classifier(noisy, members=2),
    "one-step": lambda: classifier(members=3),
}


@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("model", MODELS)
def test_every_epoch_is_a_place_to_go_on_from(
    model: str, patience: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {
        "epochs": 4,
        "batch_size": 16,
        "seed": 4,
        "validation": patience and classes(20),
        "patience": patience,
    }
    whole, expected = MODELS[model](), TrainingDynamics(50)
    duda.fit(whole, classes(), callbacks=[expected], **arguments)
    recorders: list[TrainingDynamics] = []

    def callbacks() -> list[TrainingDynamics]:
        recorders.append(TrainingDynamics(50))
        return [recorders[-1]]

    found, _, attempts = cut_off_each_epoch(
        MODELS[model],
        tmp_path / "run",
        monkeypatch,
        data=classes,
        callbacks=callbacks,
        **arguments,
    )
    assert attempts >= 4
    assert same(values(found), values(whole))
    assert equal(recorders[-1], expected)


def test_a_finished_run_brings_its_scores_back(tmp_path: Path) -> None:
    found = [TrainingDynamics(50), TrainingDynamics(50)]
    for dynamics in found:
        duda.fit(
            classifier(),
            classes(),
            epochs=3,
            seed=0,
            checkpoint=tmp_path / "run",
            callbacks=[dynamics],
        )
    assert equal(*found)


def test_a_run_with_other_callbacks_is_told(tmp_path: Path) -> None:
    fit = functools.partial(duda.fit, data=classes(), epochs=1, seed=0, checkpoint=tmp_path / "run")
    fit(classifier(), callbacks=[TrainingDynamics(50)])
    with pytest.raises(
        ValueError, match=r'its callbacks is \["TrainingDynamics"\], here it is \[\]'
    ):
        fit(classifier())
    with pytest.raises(ValueError, match="`state` is of a recorder with"):
        fit(classifier(), callbacks=[TrainingDynamics(50, el2n_epoch=2)])


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(*classes(), strict=True)


class CountedStream(Stream):
    def __len__(self) -> int:
        return 50


class WholeBatches(Items):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rows = slice(10 * index, 10 * index + 10)
        return self.x[rows], self.y[rows]


def without_first(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    x, y = zip(*items[1:], strict=True)
    return torch.stack(x), torch.stack(y)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream(), "`callbacks` watch examples by their place in the data"),
        (CountedStream(), "`callbacks` watch examples by their place in the data"),
        (DataLoader(WholeBatches(), batch_size=None), "the Dataset of `data` makes whole batches"),
        (DataLoader(Items(), 10, collate_fn=without_first), "`data` gave 45 of its 50 examples"),
        (classes(49), r"but `data` has 49 examples: make it as `TrainingDynamics\(49\)`"),
    ],
)
def test_data_that_callbacks_cannot_watch(data: Any, message: str) -> None:
    model = classifier()
    before = values(model)
    with pytest.raises(ValueError, match=message):
        duda.fit(model, data, epochs=1, callbacks=[TrainingDynamics(50)])
    assert same(values(model), before) or "gave 45" in message


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (TrainingDynamics(50), "`callbacks` is a TrainingDynamics, expected a list"),
        ([print], "`callbacks` holds a builtin_function_or_method, expected objects such as"),
    ],
)
def test_what_is_no_callback(callbacks: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        duda.fit(classifier(), classes(), epochs=1, callbacks=callbacks)


def test_extreme_outputs_are_told() -> None:
    class Masked(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.pad(super().forward(x), (0, 1), value=float("-inf"))

    with pytest.raises(ValueError, match="`outputs` has 0 NaN and 50 infinite values"):
        duda.fit(
            classifier(lambda: Masked(3, 2)), classes(), epochs=1, callbacks=[TrainingDynamics(50)]
        )
