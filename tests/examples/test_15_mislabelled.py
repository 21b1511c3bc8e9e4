"""The script on wrong labels finds them."""

import math


def test_training_finds_the_flipped_labels(example):
    found = example("plot_15_mislabelled", needs_data=True)
    assert int((found["y"] != found["truth"]).sum()) == int(found["wrong"].sum()) == found["count"]
    assert found["auroc"]["area under the margin (AUM)"] > 0.8
    chance = found["count"] / found["examples"]
    for values in found["precision"].values():
        assert len(values) == 2 * found["count"]
        assert math.isclose(
            float(values[0]), round(float(values[0]))
        )  # the first is wrong or it is not
    assert float(found["precision"]["action score"][found["count"] - 1]) > 3 * chance
