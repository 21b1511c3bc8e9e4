"""Methods x what networks put out: the right answer or one sentence, in fit and in predict."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda.likelihoods import LIKELIHOODS
from duda.methods import METHODS, UncertainModel
from tests.pairs import PAIRS, as_targets, takes_labels

N, FEATURES, CLASSES, LENGTH = 8, 4, 3, 5
AFTER_TRAINING = ("laplace", "swag")  # nothing to predict with before
ONE_ROW = ("duq", "gradient-confidence", "laplace")  # no positions


class Net(nn.Module):
    """Ends in a linear layer, and in what `end` makes of its outputs."""

    def __init__(
        self,
        end: Callable[[Tensor], Any] = lambda outputs: outputs,
        start: Callable[[Tensor], Tensor] = lambda x: x,
        width: int = CLASSES,
    ) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, 16), nn.Linear(16, 16)
        self.last, self.drop = nn.Linear(16, width), nn.Dropout(0.3)
        self.start, self.end = start, end

    def forward(self, x: Tensor) -> Any:
        hidden = self.drop(self.second(self.first(self.start(x)).relu()).relu())
        return self.end(self.last(hidden))


class SequenceFirst(Net):
    """An LSTM without `batch_first`, which takes examples for the steps of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(FEATURES, FEATURES)
        self.start = lambda x: self.recurrent(x)[0][-1]

    def __deepcopy__(self, memo: Any) -> SequenceFirst:
        other = SequenceFirst()
        other.load_state_dict(self.state_dict())
        return other


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, FEATURES, generator=torch.Generator().manual_seed(0))


def made(method: str, factory: Callable[[], nn.Module], likelihood: Any = None) -> UncertainModel:
    arguments: dict[str, Any] = {"gradient_penalty": 0} if method == "duq" else {}
    if method == "test-time-augmentation":
        arguments = {"transforms": [lambda x: x]}
    meaning = duda.Categorical() if likelihood is None else likelihood
    return METHODS[method].from_factory(factory, meaning, **arguments)


ROWS = r"outputs? ha(s|ve) shape .* for \d+ inputs of shape .*expected a row for each"
LAST = r"puts out the shape|what they say of a position is on the last dimension"
ENDS = "takes networks that end in that layer"

# What a network does, inputs, and what is said; DUQ has another end, Laplace checks its own layer.
WRONG: dict[str, tuple[Callable[[], nn.Module], Tensor, str]] = {
    "sequence first": (SequenceFirst, rows(N, LENGTH), ROWS),
    "sequence first, as many steps": (SequenceFirst, rows(N, N), ROWS),
    "pools over the batch": (lambda: Net(start=lambda x: x.mean(0, keepdim=True)), rows(N), ROWS),
    "pools over the batch at the end": (
        lambda: Net(lambda outputs: outputs.mean(0, keepdim=True)),
        rows(N),
        f"{ROWS}|{ENDS}",
    ),
    "no dimension for a batch of one": (
        lambda: Net(start=lambda x: x.squeeze()),
        rows(1),
        rf"{ROWS}|expected \(N, C|features have shape|`diffusion` returned shape|{ENDS}",
    ),
    "all rows in one": (lambda: Net(start=lambda x: x.flatten(0, 1)), rows(N, LENGTH), ROWS),
    "softmax": (lambda: Net(lambda outputs: outputs.softmax(-1)), rows(N), f"softmax|{ENDS}"),
    "softmax of module": (
        lambda: Net(nn.Softmax(1)),
        100 * rows(N),
        f"softmax|{ENDS}",
    ),
    "sigmoid": (lambda: Net(torch.sigmoid), rows(N), f"sigmoid|{ENDS}"),
    "softmax of one row": (lambda: Net(nn.Softmax(1)), rows(1), f"softmax|{ENDS}"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("method", METHODS)
def test_wrong_outputs_are_told(method: str, kind: str) -> None:
    factory, x, message = WRONG[kind]
    y = torch.arange(len(x)) % CLASSES
    if len(x) > 1:
        with pytest.raises(ValueError, match=message):
            duda.fit(made(method, factory), (x, y), epochs=4, seed=0)
    if method in AFTER_TRAINING:
        if method == "laplace":
            with pytest.raises(ValueError, match=message):
                made(method, factory).fit_posterior((x, y))  # type: ignore[operator]
        return
    model = made(method, factory)
    before = copy.deepcopy(model.state_dict())
    for data in (x, DataLoader(TensorDataset(x, y), len(x))):
        with pytest.raises(ValueError, match=message):
            model.predict(data, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", ["test-time-augmentation", "swag"])
def test_draws_from_other_paths_have_the_rows_of_the_input(method: str) -> None:
    """A network that was right when it was trained."""
    model = made(method, Net)
    x, y = rows(N), torch.arange(N) % CLASSES
    duda.fit(model, (x, y), epochs=4, seed=0)
    for module in model.modules():
        if isinstance(module, Net):
            module.end = lambda outputs: outputs.mean(0, keepdim=True)
    with pytest.raises(ValueError, match=ROWS):
        model.predict(x, seed=0)


SEQUENCES: dict[str, Callable[[bool], nn.Module]] = {
    "recurrent": lambda first: nn.GRU(FEATURES, CLASSES, batch_first=first),
    "both ways": lambda first: nn.LSTM(FEATURES, CLASSES, bidirectional=True, batch_first=first),
    "attention": lambda first: nn.TransformerEncoderLayer(FEATURES, 1, 8, batch_first=first),
}


@pytest.mark.parametrize("form", [None, 1, -1])
@pytest.mark.parametrize("length", [LENGTH, N])
@pytest.mark.parametrize("kind", SEQUENCES)
def test_examples_taken_for_steps_are_told(kind: str, length: int, form: int | None) -> None:
    class Steps(nn.Module):
        def __init__(self, first: bool) -> None:
            super().__init__()
            self.inner, self.drop = SEQUENCES[kind](first), nn.Dropout(0.3)

        def forward(self, x: Tensor) -> Tensor:
            found = self.inner(x)
            found = self.drop(found[0] if isinstance(found, tuple) else found)
            return found if form == -1 else found.movedim(-1, 1)

    x = rows(N, length)
    y = torch.zeros(N, length, dtype=torch.long)
    meaning = duda.Categorical(class_dim=form)
    model = duda.MCDropout(Steps(first=False), meaning)
    with pytest.raises(ValueError, match="takes dimension 1 for the examples"):
        model.predict(x)
    with pytest.raises(ValueError, match="takes dimension 1 for the examples"):
        duda.fit(model, (x, y), epochs=1)
    assert len(duda.MCDropout(Steps(first=True), meaning).predict(x)) == N


def tokens(rows: int, length: int) -> tuple[dict[str, Tensor], Tensor]:
    ids = torch.randint(9, (rows, length), generator=torch.Generator().manual_seed(length))
    return {"ids": ids}, ids % CLASSES


class Tagger(nn.Module):
    """Classes of each token, in one of the forms in which networks give them."""

    def __init__(self, form: str, width: int = CLASSES) -> None:
        super().__init__()
        self.form, self.embedding = form, nn.Embedding(9, 16)
        self.hidden, self.drop, self.last = nn.Linear(16, 16), nn.Dropout(0.3), nn.Linear(16, width)

    def forward(self, ids: Tensor) -> Any:
        logits = self.last(self.drop(self.hidden(self.embedding(ids)).relu()))
        if self.form == "first":
            return logits.movedim(-1, 1)
        if self.form == "attribute":
            return Named(logits)
        return {"logits": logits} if self.form == "dict" else logits


class Named:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


WITH_POSITIONS = [
    (method, name)
    for method, name in PAIRS
    # Whose outputs are as many as the targets: both ways they could be meant.
    if method not in (*ONE_ROW, "sde-net") and name not in ("fixed-gaussian", "poisson")
]


def said(method: str, likelihood: str, form: str, length: int, **arguments: Any) -> Any:
    """Return what a method says of tokens, by networks that are the same but for the form."""
    meaning = LIKELIHOODS[likelihood](**arguments)
    torch.manual_seed(0)
    model = made(method, lambda: Tagger(form, meaning.width(CLASSES)), meaning)
    x, y = tokens(N, length)
    if not takes_labels(meaning):
        y = as_targets(meaning, F.one_hot(y, CLASSES).float())
        y = y if arguments else y.movedim(-1, 1)
    torch.manual_seed(0)
    duda.fit(model, (x, y), epochs=4, seed=0)
    return model, model.predict(x, seed=0)


@pytest.mark.parametrize("length", [LENGTH, CLASSES])
@pytest.mark.parametrize(("method", "likelihood"), WITH_POSITIONS)
def test_classes_last_are_told_or_moved(method: str, likelihood: str, length: int) -> None:
    dim = "class_dim" if takes_labels(LIKELIHOODS[likelihood]()) else "output_dim"
    _, expected = said(method, likelihood, "first", length)
    assert expected.said_shape[-1] == length
    with pytest.raises(ValueError, match=LAST + r"|expected .* numbers on dimension 1|`y` has"):
        said(method, likelihood, "last", length)
    forms = [("last", {dim: -1}), ("dict", {}), ("attribute", {})]
    for form, arguments in forms:
        _, answer = said(method, likelihood, form, length, **arguments)
        one, other = expected.numpy(), answer.numpy()
        for name, values in one.items():
            torch.testing.assert_close(
                torch.as_tensor(other[name]), torch.as_tensor(values), rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("dim", [-1, 1])
@pytest.mark.parametrize("form", ["dict", "attribute"])
def test_what_is_moved_is_not_moved_twice(form: str, dim: int) -> None:
    model = made("mc-dropout", lambda: Tagger(form), duda.Categorical(class_dim=dim))
    x, y = tokens(N, CLASSES)
    message = f"`class_dim` is {dim}, but the network gives its outputs as `logits`"
    with pytest.raises(ValueError, match=message):
        model.predict(x)
    with pytest.raises(ValueError, match=message):
        duda.fit(model, (x, y), epochs=1)
    with pytest.raises(ValueError, match=message):
        model.loss(x, y)


def test_logits_with_classes_first_are_taken_as_they_are() -> None:
    class Convolution(nn.Conv1d):
        def forward(self, x: Tensor) -> Any:
            return {"logits": super().forward(x)}

    network, x = Convolution(FEATURES, CLASSES, 3, padding=1), rows(N, LENGTH).movedim(-1, 1)
    with pytest.raises(ValueError, match=r"take them as they are by .*Outputs\(network, \"logits"):
        duda.Deterministic(network, duda.Categorical()).predict(x)
    as_they_are = duda.layers.Outputs(network, "logits")
    answer = duda.Deterministic(as_they_are, duda.Categorical()).predict(x)
    torch.testing.assert_close(answer.probs, network(x)["logits"].softmax(1))


@pytest.mark.parametrize("length", [LENGTH, CLASSES])
def test_a_loader_is_told_as_well(length: int) -> None:
    x, y = tokens(N, length)
    loader = DataLoader(TensorDataset(x["ids"], y), 4)
    model = made("mc-dropout", lambda: Tagger("last"))
    with pytest.raises(ValueError, match=r"what they say of a position|`y` has shape"):
        duda.fit(model, loader, epochs=1)
    with pytest.raises(ValueError, match="what they say of a position"):
        model.predict(loader)


POSITIONS: dict[str, tuple[Callable[[], nn.Module], Tensor, bool]] = {
    "convolution": (lambda: nn.Conv1d(4, 3, 3, padding=1), torch.randn(N, 4, 7), False),
    "convolution, as many": (lambda: nn.Conv1d(4, 7, 3, padding=1), torch.randn(N, 4, 7), False),
    "image": (lambda: nn.Conv2d(1, 6, 3, padding=1), torch.randn(2, 1, 6, 6), False),
    "image, classes last": (
        lambda: nn.Sequential(Moved(1, -1), nn.Linear(1, 4)),
        torch.randn(2, 1, 6, 6),
        True,
    ),
    "linear": (lambda: nn.Linear(4, 3), torch.randn(N, 5, 4), True),
    "linear and logarithms": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(-1)),
        torch.randn(N, 5, 4),
        True,
    ),
    "norm": (lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), torch.randn(N, 6, 4), True),
    "recurrent": (lambda: First(nn.GRU(4, 5, batch_first=True)), torch.randn(N, 6, 4), True),
    "fixed length": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(20, 30), nn.Unflatten(1, (5, 6))),
        torch.randn(N, 5, 4),
        False,
    ),
    "fixed length, then linear": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(20, 30), nn.Unflatten(1, (5, 6)), nn.Linear(6, 3)
        ),
        torch.randn(N, 5, 4),
        True,
    ),
    "transposed": (
        lambda: nn.Sequential(nn.Linear(4, 3), Moved(-1, 1)),
        torch.randn(N, 5, 4),
        False,
    ),
    "transposed, as many": (
        lambda: nn.Sequential(nn.Linear(4, 5), Moved(-1, 1)),
        torch.randn(N, 5, 4),
        False,
    ),
    "element by element": (nn.Identity, torch.randn(N, 5, 4), False),
}


class Moved(nn.Module):
    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.source, self.target = source, target

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(self.source, self.target)


class First(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x)[0]
        return found


@pytest.mark.parametrize("kind", POSITIONS)
def test_classes_are_found_last_where_they_are(kind: str) -> None:
    factory, x, is_last = POSITIONS[kind]
    model = duda.Deterministic(factory(), duda.Categorical())
    if not is_last:
        assert model.predict(x).probs.shape == model(x).shape
        return
    with pytest.raises(ValueError, match=r"give `Categorical\(class_dim=-1\)`, or `class_dim=1`"):
        model.predict(x)
    network = model.network
    expected = network(x).softmax(-1).movedim(-1, 1)
    said = duda.Deterministic(network, duda.Categorical(class_dim=-1)).predict(x)
    torch.testing.assert_close(said.probs, expected)
    meant = duda.Deterministic(network, duda.Categorical(class_dim=1)).predict(x)
    torch.testing.assert_close(meant.probs, network(x).softmax(1))


@pytest.mark.parametrize(
    "method", [m for m in METHODS if m not in (*AFTER_TRAINING, *ONE_ROW, "sde-net")]
)
def test_batches_of_other_lengths_are_told_by_their_number(method: str) -> None:
    model = made(method, lambda: Tagger("first"))
    batches = [tokens(2, length)[0] for length in (5, 5, 7, 5, 5)]
    seen: list[int] = []
    loader = DataLoader(batches, batch_size=None, collate_fn=lambda x: (seen.append(1), x)[1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`batch 3 of x` has .*\(3, 7\).*before have \(3, 5\)"):
        model.predict(loader, seed=0)
    assert len(seen) == 3


def test_sentences_of_other_lengths_have_one_class_each() -> None:
    class Pooled(Tagger):
        def forward(self, ids: Tensor) -> Tensor:
            found: Tensor = super().forward(ids).mean(1)
            return found

    batches = [tokens(2, length)[0] for length in (5, 7, 2)]
    loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    model = made("mc-dropout", lambda: Pooled("last"))
    assert model.predict(loader, seed=0).probs.shape == (6, CLASSES)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("duq", "laplace")])
def test_probabilities_are_taken_where_they_are_meant(method: str) -> None:
    softmax = made(method, lambda: Net(nn.Softmax(1)), duda.Categorical(probs=True))
    logits = made(method, Net)
    x, y = rows(N), torch.arange(N) % CLASSES
    logits.load_state_dict(softmax.state_dict())
    for model in (softmax, logits):
        duda.fit(model, (x, y), epochs=4, seed=0)
    logits.load_state_dict(softmax.state_dict())
    one, other = softmax.predict(x, seed=0), logits.predict(x, seed=0)
    torch.testing.assert_close(one.probs, other.probs, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(one.epistemic, other.epistemic, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("duq", "laplace")])
def test_logarithms_of_a_softmax_do_no_harm(method: str) -> None:
    logs, logits = made(method, lambda: Net(nn.LogSoftmax(1))), made(method, Net)
    x, y = rows(N), torch.arange(N) % CLASSES
    duda.fit(logs, (x, y), epochs=4, seed=0)
    duda.fit(logits, (x, y), epochs=4, seed=0)
    logits.load_state_dict(logs.state_dict())
    one, other = logs.predict(x, seed=0), logits.predict(x, seed=0)
    torch.testing.assert_close(one.probs, other.probs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_saturated_softmax_is_found_by_what_made_it(dtype: torch.dtype) -> None:
    network = Net(nn.Softmax(1)).to(dtype)
    network.last.weight.data *= 1e5
    x = rows(3)
    probs = network.eval()(x.to(dtype))
    assert bool(((probs == 0) | (probs == 1)).all())
    with pytest.raises(ValueError, match=r"the network ends in a softmax|as after a softmax"):
        duda.MCDropout(network, duda.Categorical()).predict(x)


def test_one_member_with_a_softmax_is_found() -> None:
    networks = [Net(), Net(), Net(nn.Softmax(1))]
    with pytest.raises(ValueError, match="add up to 1 for each example"):
        duda.DeepEnsemble(networks, duda.Categorical()).predict(rows(N))


def test_logits_of_the_same_row_again_and_again_are_logits() -> None:
    one = torch.tensor([0.2, 0.5, 0.31])  # adds up to about 1, by chance in each of many draws
    network = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.01))
    network[0].weight.data.zero_()
    network[0].bias.data.copy_(one)
    answer = duda.MCDropout(network, duda.Categorical()).predict(torch.ones(64, 4), samples=50)
    assert answer.probs.shape == (64, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_softmax_of_any_precision_is_found(dtype: torch.dtype) -> None:
    end = lambda outputs: outputs.to(dtype).softmax(1).to(outputs.dtype)  # noqa: E731
    with pytest.raises(ValueError, match=r"the network ends in a softmax|as after a softmax"):
        duda.Deterministic(Net(end), duda.Categorical()).predict(rows(N))


@pytest.mark.parametrize("end", [nn.ReLU(), nn.Softplus(), lambda outputs: outputs.abs() / 100])
def test_small_positive_logits_are_logits(end: Callable[[Tensor], Tensor]) -> None:
    network = Net(lambda outputs: end(outputs).clamp(max=1))
    model = duda.MCDropout(network, duda.Categorical())
    x, y = rows(N), torch.arange(N) % CLASSES
    assert len(model.predict(x, seed=0)) == N
    duda.fit(model, (x, y), epochs=1)


def test_other_outputs_than_in_training_are_told() -> None:
    """Classes that move to another dimension, which a look at shapes alone cannot know."""
    network = Net(lambda outputs: outputs.reshape(len(outputs), 3, -1), width=12)
    model = duda.Deterministic(network, duda.Categorical())
    duda.fit(model, (rows(N), torch.zeros(N, 4, dtype=torch.long)), epochs=1)
    assert model.predict(rows(N)).probs.shape == (N, 3, 4)
    network.end = lambda outputs: outputs.reshape(len(outputs), 4, -1)
    with pytest.raises(ValueError, match=r"shape \(8, 4, 3\), expected 3 of them .*in training"):
        model.predict(rows(N))
    network.last = nn.Linear(16, 20)  # a new head
    assert model.predict(rows(N)).probs.shape == (N, 4, 5)


def test_token_classifiers_of_hugging_face() -> None:
    from transformers import BertConfig, BertForTokenClassification

    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=CLASSES,
        hidden_dropout_prob=0.1,
    )
    network = BertForTokenClassification(config)
    for length in (7, CLASSES):
        ids = torch.randint(20, (N, length))
        x = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        model = duda.Deterministic(network, duda.Categorical())
        expected = network.eval()(**x).logits
        answer = model.predict(x)
        torch.testing.assert_close(answer.probs, expected.softmax(-1).movedim(-1, 1))
        y = ids % CLASSES
        loss = F.cross_entropy(expected.flatten(0, 1), y.flatten())
        torch.testing.assert_close(model.eval().loss(x, y), loss)
        duda.fit(duda.MCDropout(network, duda.Categorical()), x | {"labels": y}, epochs=1)


def test_a_causal_language_model_is_not_taught_to_copy() -> None:
    words = 9
    x, _ = tokens(N, LENGTH)
    ids = x["ids"]
    model = made("mc-dropout", lambda: Tagger("attribute", words), duda.Categorical(-100))
    padded = ids.masked_fill(torch.arange(LENGTH) > 2, -100)
    rows_of_dicts: Any = [{"ids": each, "labels": each} for each in ids]
    for data in ((x, ids), x | {"labels": padded}, DataLoader(rows_of_dicts, 4)):
        with pytest.raises(ValueError, match=r"labels are the network's own inputs.*`x\[:, 1:\]`"):
            duda.fit(model, data, epochs=1)
    duda.fit(model, ({"ids": ids[:, :-1]}, ids[:, 1:]), epochs=1)
    copying = made("mc-dropout", lambda: Tagger("first", words))
    duda.fit(copying, (x, ids), epochs=1)
