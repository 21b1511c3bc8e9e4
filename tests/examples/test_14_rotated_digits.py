import pytest
import torch

import duda

NAME = "plot_14_rotated_digits"


def test_every_method_and_temperature_scaling_at_every_angle(example):
    found = example(NAME, needs_data=True)
    assert set(found["answers"]) == {*duda.METHODS, "plain + temperature"}
    assert found["angles"][0] == 0
    assert found["angles"][-1] == 180
    assert len(found["curves"]) == 4
    for lines in found["curves"].values():
        assert set(lines) == set(found["answers"])
        assert {len(line) for line in lines.values()} == {len(found["angles"])}
        assert all(value >= 0 for line in lines.values() for value in line)


def test_temperature_scaling_leaves_the_order_of_classes(example):
    curves = example(NAME, needs_data=True)["curves"]
    accuracy = curves["accuracy"]
    assert accuracy["plain + temperature"] == accuracy["deterministic"]
    assert curves["NLL, nats"]["plain + temperature"] != curves["NLL, nats"]["deterministic"]


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 1), (180, 2)])
def test_pictures_turn_about_their_centres(example, degrees, turns):
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    turned = example(NAME, needs_data=True)["rotated"](x, degrees)
    assert torch.allclose(turned, torch.rot90(x, turns, dims=(2, 3)), atol=1e-4)
