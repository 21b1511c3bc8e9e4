"""The script on ships asks every doubt about ships and horses, and its gate keeps its guarantee."""

import itertools

import torch


def test_every_doubt_is_asked_about_every_kind(example):
    found = example("plot_13_cats_dogs_ships", needs_data=True)
    assert set(found["found"]) == set(itertools.product(found["scores"], found["ood"]))
    for separation in found["found"].values():
        assert separation.n_in == len(found["x_test"])


def test_only_cats_and_dogs_are_learned(example):
    found = example("plot_13_cats_dogs_ships", needs_data=True)
    x, y = found["data"].train
    for picture, label in zip(found["x"][:5], found["y"][:5], strict=True):
        at = (x == picture).flatten(1).all(1).nonzero().item()
        assert int(y[at]) == [3, 5][int(label)]
    ships = found["data"].test[0][found["data"].test[1] == 8]
    assert torch.equal(found["ood"]["ships"], ships[: found["count"]])
