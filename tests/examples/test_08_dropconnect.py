"""The script on selective DropConnect: the more layers are plain, the fewer operations."""

import itertools


def test_operations_fall_with_plain_layers(example):
    found = example("plot_08_dropconnect", needs_data=True)
    counted = [found["counted"][plain] for plain in found["layers"]]
    assert counted[0] == 1
    assert all(later < earlier for earlier, later in itertools.pairwise(counted))
    pairs = set(itertools.product(found["chances"], found["layers"]))
    assert set(found["accuracy"]) == set(found["auroc"]) == pairs
    for values in (*found["accuracy"].values(), *found["auroc"].values()):
        assert len(values) == len(found["seeds"])
        assert bool(((values >= 0) & (values <= 1)).all())
