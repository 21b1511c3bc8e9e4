"""The script on the cliff: both walkers obey the same world."""


def test_walkers_move_by_one_step_and_one_gust_and_stop_at_the_end(example):
    found = example("plot_18_cliff")
    for path in found["paths"].values():
        steps = path.diff(dim=0)
        assert int(steps[..., 1].abs().max()) <= 1
        assert int(steps[..., 0].max()) <= 2
        ended = found["outcome"](path[:-1].flatten(0, 1))[1].unflatten(0, steps.shape[:2])
        assert bool((steps.abs().sum(-1)[ended] == 0).all())
    assert set(found["fallen"]) == set(found["paths"])
    assert found["gate"].guarantee.examples == 400
