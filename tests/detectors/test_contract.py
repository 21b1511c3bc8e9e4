"""What every detector does: fits, is kept in a file, and scores for gates and reports."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from jaxtyping import Float
from sklearn.base import clone
from torch import Tensor

import duda
from duda.detectors import DETECTORS, Detector, FeatureDetector, LogitDetector, OnNetwork
from duda.predictions import ClassPrediction

each_detector = pytest.mark.parametrize("name", DETECTORS)
FEATURES = [name for name, kind in DETECTORS.items() if issubclass(kind, FeatureDetector)]
each_feature_detector = pytest.mark.parametrize("name", FEATURES)


def made(name):
    """Return the detector with few neighbors, where it has some."""
    detector = DETECTORS[name]()
    return detector.set_params(k=3) if "k" in detector.get_params() else detector


@pytest.fixture
def data():
    """Features, or logits, of three classes, their labels, and others that are further away."""
    y = torch.arange(90) % 3
    x = torch.randn(90, 3, dtype=torch.float64) + 6 * torch.nn.functional.one_hot(y, 3)
    return x, y, torch.randn(40, 3, dtype=torch.float64)


@each_detector
def test_fit_changes_and_returns_it(name, data):
    x, y, other = data
    detector = made(name)
    assert detector.fit(x, y) is detector
    assert torch.equal(detector(other), detector.score(other))


@each_detector
def test_others_score_higher(name, data):
    x, y, other = data
    detector = made(name).fit(x[::2], y[::2])
    assert duda.evaluation.ood(detector.score(x[1::2]), detector.score(other)).auroc > 0.9


@each_detector
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_file_gives_the_same_scores_to_the_last_bit(name, dtype, data, tmp_path):
    x, y, other = (part.to(dtype) if part.is_floating_point() else part for part in data)
    detector = made(name).fit(x, y)
    path = detector.save(tmp_path / "detector")
    for back in (Detector.load(path), type(detector).load(path)):
        assert type(back) is type(detector)
        assert back.get_params() == detector.get_params()
        assert torch.equal(back.score(other), detector.score(other))
    assert back.score(other).dtype == torch.float64


@each_detector
def test_a_file_of_another_kind_is_named(name, data, tmp_path):
    path = made(name).fit(*data[:2]).save(tmp_path / "detector")
    other = next(kind for key, kind in DETECTORS.items() if key != name)
    expected = f"of the kind '{DETECTORS[name].__name__}', expected {other.__name__}"
    with pytest.raises(ValueError, match=expected):
        other.load(path)
    with pytest.raises(FileNotFoundError, match="no detector at"):
        Detector.load(tmp_path / "nothing")


@each_feature_detector
def test_damaged_tensors_are_named(name, data, tmp_path):
    detector = made(name).fit(*data[:2])
    kind, state = detector.format.read(detector.save(tmp_path / "detector"))
    learned = state["learned"]
    for key, value in learned.items():
        for changed, message in (
            (value.long(), f"its `{key}` is a tensor .* torch.int64, expected Float64"),
            (value.unsqueeze(0), f"its `{key}` is a tensor of shape"),
            (torch.full_like(value, math.nan), f"`{key}` has {value.numel()} NaN"),
        ):
            state["learned"] = learned | {key: changed}
            path = detector.format.write(tmp_path / "detector", kind, state)
            with pytest.raises(ValueError, match=f"holds no valid {kind}: .*{message}"):
                Detector.load(path)


def test_sizes_that_do_not_fit_are_named(data, tmp_path):
    detector = made("mahalanobis").fit(*data[:2])
    kind, state = detector.format.read(detector.save(tmp_path / "detector"))
    state["learned"]["whitened_means"] = state["learned"]["whitened_means"][:, :2]
    path = detector.format.write(tmp_path / "detector", kind, state)
    with pytest.raises(ValueError, match=r"`whitened_means` is .* \(3, 2\) .* expected .*'C D'"):
        Detector.load(path)


def test_a_file_with_fewer_neighbors_than_k(data, tmp_path):
    detector = made("nearest-neighbors").fit(data[0])
    kind, state = detector.format.read(detector.save(tmp_path / "detector"))
    state["options"] = {"k": 1000}
    path = detector.format.write(tmp_path / "detector", kind, state)
    with pytest.raises(ValueError, match="has 90 examples, expected at least `k` = 1000"):
        Detector.load(path)


@each_feature_detector
def test_before_fit(name, data, tmp_path):
    for call in (lambda d: d.score(data[0]), lambda d: d.save(tmp_path / "detector")):
        with pytest.raises(ValueError, match="is not fitted: call its `fit` first"):
            call(made(name))
    assert not list(tmp_path.iterdir())


@each_detector
def test_parameters_by_the_rules_of_scikit_learn(name, data):
    detector = made(name).fit(*data[:2])
    copy = clone(detector)
    assert copy is not detector
    assert copy.get_params() == detector.get_params()
    assert repr(copy) == repr(detector)
    with pytest.raises(ValueError, match="unknown parameter 'shrinkge'"):
        detector.set_params(shrinkge=0.1)


@each_detector
def test_a_gate_takes_the_scores(name, data):
    x, y, other = data
    detector = made(name).fit(x[:45], y[:45])
    gate = duda.Gate.false_alarm(0.1).fit(detector.score(x[45:]))
    assert gate(detector.score(x[45:])).accepted.double().mean() >= 0.9
    assert gate(detector.score(other)).accepted.double().mean() < 0.5


@each_detector
def test_the_report_and_gates_take_answers_with_the_scores(name, data):
    x, y, other = data
    detector = made(name).fit(x, y)
    answer, outside = (ClassPrediction.from_probs(part.softmax(1)) for part in (x, other))
    found = detector.scored(answer, x)
    assert torch.equal(found.probs, answer.probs)
    assert torch.equal(found.score, detector.score(x))
    ood = {"others": {name: detector.scored(outside, other)}}
    pages = duda.report({name: found}, y), duda.report({name: found}, y, ood=ood)
    assert len(pages[1].sections) == len(pages[0].sections) + 1
    assert duda.Gate.keep(0.9).fit(found)(found).accepted.any()


@each_detector
def test_one_score_for_each_answer(name, data):
    answer = ClassPrediction.from_probs(data[0].softmax(1))
    detector = made(name).fit(*data[:2])
    with pytest.raises(ValueError, match=r"`own_score` has shape \(3,\)"):
        detector.scored(answer, data[0][:3])


@each_detector
def test_one_example_is_scored_as_among_others(name, data):
    x, y, other = data
    detector = made(name).fit(x, y)
    torch.testing.assert_close(detector.score(other[:1]), detector.score(other)[:1])


@each_detector
def test_nan_is_told_when_fitted_and_when_scored(name, data):
    x, y, other = data
    detector = made(name).fit(x, y)
    other[0, 0] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        detector.score(other)
    x[0, 0] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        made(name).fit(x, y)


@each_feature_detector
def test_labels_that_are_texts(name, data):
    x, y, _ = data
    with pytest.raises(TypeError, match="`y` is a list, expected a tensor or array of numbers"):
        made(name).fit(x, [str(label) for label in y.tolist()])


@each_feature_detector
def test_constant_features(name, data):
    x, y, other = (
        torch.nn.functional.pad(part, (0, 1)) if part.ndim > 1 else part for part in data
    )
    detector = made(name).fit(x, y)  # shrinkage, or none needed
    assert detector.score(other).isfinite().all()


def test_one_example_is_too_few_for_a_covariance():
    for name in ("mahalanobis", "feature-density"):
        with pytest.raises(ValueError, match="1 example of class 0, expected at least 2"):
            made(name).fit([[1.0, 2.0]], [0])
    assert DETECTORS["nearest-neighbors"](k=1).fit([[1.0, 2.0]]).score([[2.0, 4.0]]).shape == (1,)


@dataclass(eq=False, kw_only=True)
class Norm(FeatureDetector):
    """The length of features, in lengths of the longest that was fitted."""

    power: float = 1.0
    longest: Float[Tensor, ""] = field(init=False, repr=False)
    width: int = field(init=False, repr=False)

    def _learn(self, features, labels):
        self.longest, self.width = features.double().norm(dim=1).amax(), features.shape[1]

    def _size(self):
        return 1, self.width

    def _score(self, features):
        return (features.norm(dim=1) / self.longest) ** self.power


def test_a_detector_of_ones_own(data, tmp_path):
    x, _, other = data
    detector = Norm(power=np.float64(2.0)).fit(x)
    path = detector.save(tmp_path / "norm")
    for kind in (Norm, FeatureDetector, Detector):
        assert torch.equal(kind.load(path).score(other), detector.score(other))
    with pytest.raises(ValueError, match="of the kind 'Norm', expected Energy, MaxLogit"):
        LogitDetector.load(path)
    network = torch.nn.Linear(3, 2)
    assert OnNetwork(network, detector).score(other).shape == (40,)
