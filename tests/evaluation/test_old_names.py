import pytest
import torch

import duda
from duda import detectors


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Mahalanobis", detectors.Mahalanobis),
        ("NearestNeighbours", detectors.NearestNeighbors),
        ("FeatureDensity", detectors.FeatureDensity),
        ("energy", detectors.energy),
        ("max_logit", detectors.max_logit),
    ],
)
def test_detectors_by_their_old_names(old, new):
    with pytest.warns(DeprecationWarning, match=rf"is now `duda\.detectors\.{new.__name__}`"):
        assert getattr(duda.evaluation, old) is new
    assert old not in duda.evaluation.__all__


def test_features_by_the_old_order_of_arguments():
    network, x = torch.nn.Sequential(torch.nn.Linear(4, 3)), torch.randn(5, 4)
    with pytest.warns(DeprecationWarning, match=r"features_of\(network, x, layer\)") as caught:
        found = duda.evaluation.features_of(network, "0", x, batch_size=2)
    assert caught[0].filename == __file__
    torch.testing.assert_close(found, detectors.features_of(network, x, "0"))


def test_arrays_of_gaussians_by_the_old_order_of_arguments():
    with pytest.warns(
        DeprecationWarning, match=r"is now `evaluation.pit\(mean, y, std=std\)`"
    ) as seen:
        found = duda.evaluation.pit_of_gaussian([0.0, 1.0], [1.0, 2.0], [3.0, 0.0], bins=10)
    assert seen[0].filename == __file__
    expected = duda.evaluation.pit([0.0, 1.0], [3.0, 0.0], std=[1.0, 2.0], bins=10)
    assert torch.equal(found.counts, expected.counts)


def test_generalized_risks_by_their_old_spelling():
    found = duda.evaluation.selective([0.1, 0.2], [0.0, 1.0])
    with pytest.warns(DeprecationWarning, match="is now `generalized_risks`"):
        assert torch.equal(found.generalised_risks, found.generalized_risks)


def test_streaming_is_still_there():
    assert duda.evaluation.streaming.__name__ == "duda.evaluation.streaming"


def test_other_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'duda\.evaluation' has no attribute 'nothing'"):
        duda.evaluation.nothing  # noqa: B018
