import pytest
import torch

NAME = "plot_04_reliability"


def test_one_training_serves_both_answers(example):
    found = example(NAME, needs_data=True)
    assert len(found["answers"]) == found["seeds"]
    assert found["same_weights"].network is found["model"].network
    for answer in found["answers"]:
        assert float(answer["plain"].epistemic.max()) == 0
        assert float(answer["MC-Dropout"].epistemic.min()) > 0
        assert torch.equal(answer["MC-Dropout"].votes.sum(1), torch.full((len(found["y"]),), 10))


def test_the_network_is_the_published_one(example):
    network = example(NAME, needs_data=True)["model"].network
    kinds = [type(layer).__name__ for layer in network if type(layer).__name__ != "ReLU"]
    assert kinds == [
        *("Conv2d", "Conv2d", "MaxPool2d", "Dropout", "Flatten", "Linear", "Dropout", "Linear")
    ]
    assert sum(weights.numel() for weights in network.parameters()) == 1_199_882


def test_the_errors_are_means_over_bins_that_hold_anything(example):
    found = example(NAME, needs_data=True)
    for of, answer in zip(found["found"], found["answers"], strict=True):
        for name, one in of.items():
            confidence = answer[name].confidence.double()
            right = (answer[name].labels == found["y"]).double()
            index = (confidence * 20).long().clamp(max=19)
            gaps = [
                abs(float((confidence - right)[index == place].mean())) for place in index.unique()
            ]
            assert one.ce("mean") == pytest.approx(sum(gaps) / len(gaps), abs=1e-9)


def test_the_differences_have_a_chance(example):
    found = example(NAME, needs_data=True)
    for kind in ("mean", "weighted"):
        assert len(found["better"][kind]) == found["seeds"]
        for (gain, p), of in zip(found["better"][kind], found["found"], strict=True):
            assert gain == pytest.approx(of["plain"].ce(kind) - of["MC-Dropout"].ce(kind), abs=1e-6)
            assert 0 < p <= 1
