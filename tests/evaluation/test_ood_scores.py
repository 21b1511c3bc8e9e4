import pytest
import torch
from scipy import stats

from duda import Categorical, GaussianPrediction, Quantiles
from duda.evaluation import ood, ood_scores
from duda.evaluation.ood_scores import PREDICTION_SCORES
from duda.predictions import ClassPrediction

# (N, M, C)
DRAWS = torch.tensor(
    [
        [[0.9, 0.1], [0.1, 0.9]],
        [[0.5, 0.5], [0.5, 0.5]],
        [[1.0, 0.0], [1.0, 0.0]],
        [[0.8, 0.2], [0.6, 0.4]],
    ],
    dtype=torch.float64,
).transpose(0, 1)


@pytest.fixture
def prediction():
    return Categorical().reduce(DRAWS.log(), keep_draws=True)


def test_information_of_baal(prediction):
    # baal 2.1.0 and scipy 1.17.1
    found = ood_scores.mutual_information(prediction)
    expected = [0.3680642071684971, 0.0, 0.0, 0.02415725678117131]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    entropies = stats.entropy(DRAWS.numpy(), axis=2).mean(0)
    found = ood_scores.expected_entropy(prediction)
    assert found.tolist() == pytest.approx(entropies.tolist(), abs=1e-12)
    total = ood_scores.entropy(prediction)
    expected = stats.entropy(DRAWS.numpy().mean(0), axis=1)
    assert total.tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_scores_of_the_mean(prediction):
    assert ood_scores.max_probability(prediction).tolist() == pytest.approx([0.5, 0.5, 0, 0.3])
    assert ood_scores.margin(prediction).tolist() == pytest.approx([1, 1, 0, 0.6])


def test_std_of_probabilities(prediction):
    expected = DRAWS.numpy().std(0).mean(1)
    found = ood_scores.std(prediction)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    assert found.tolist() == pytest.approx([0.4, 0, 0, 0.1], abs=1e-12)


def test_std_of_numbers():
    answer = GaussianPrediction(torch.zeros(2, 1), torch.tensor([[4.0], [9.0]]))
    assert ood_scores.std(answer).tolist() == [[2.0], [3.0]]


def test_std_needs_draws():
    with pytest.raises(ValueError, match="`keep_draws=True`"):
        ood_scores.std(Categorical().reduce(DRAWS.log()))


@pytest.mark.parametrize("name", PREDICTION_SCORES)
def test_higher_is_more_out_of_distribution(name):
    generator = torch.Generator().manual_seed(0)
    sure = torch.randn(20, 50, 5, generator=generator) + 8 * torch.eye(5)[0]
    unsure = 3 * torch.randn(20, 50, 5, generator=generator)
    score = PREDICTION_SCORES[name]
    known, other = (score(Categorical().reduce(draws, keep_draws=True)) for draws in (sure, unsure))
    assert known.shape == other.shape == (50,)
    assert ood(known, other).auroc > 0.95


@pytest.mark.parametrize("name", PREDICTION_SCORES)
def test_positions(name):
    draws = torch.randn(4, 3, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    answer = Categorical().reduce(draws, keep_draws=True)
    assert PREDICTION_SCORES[name](answer).shape == (3, 6, 7)


@pytest.mark.parametrize("name", [name for name in PREDICTION_SCORES if name != "std"])
def test_numbers_have_other_scores(name):
    with pytest.raises(TypeError, match=r"a GaussianPrediction, expected .*: use `std`"):
        PREDICTION_SCORES[name](GaussianPrediction(torch.zeros(2, 1), torch.ones(2, 1)))


def test_quantiles_have_no_std():
    answer = Quantiles([0.1, 0.5, 0.9]).reduce(torch.randn(1, 4, 3))
    with pytest.raises(TypeError, match="QuantilePrediction"):
        ood_scores.std(answer)


def test_saturated_logits():
    # p log p from float32 softmax is NaN for these in pytorch-ood before 0.4
    answer = Categorical().reduce(torch.tensor([[[200.0, 0.0]]]))
    assert ood_scores.entropy(answer).tolist() == [0.0]


def test_of_one_network():
    answer = ClassPrediction.from_probs([[0.7, 0.3]])
    assert ood_scores.mutual_information(answer).tolist() == [0]
    assert ood_scores.variation_ratio(answer).tolist() == [0]
