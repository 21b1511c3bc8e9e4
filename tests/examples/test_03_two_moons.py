import duda

NAME = "plot_03_two_moons"


def test_there_is_a_map_of_every_method_for_every_part(example):
    found = example(NAME)
    assert list(found["maps"]) == list(duda.METHODS)
    places = found["grid"].shape[0] * found["grid"].shape[1]
    for answer in found["maps"].values():
        assert len(answer) == places
        total = answer.aleatoric + answer.epistemic
        assert bool((total - answer.entropy).abs().max() < 1e-4)
    assert [ax.get_title() for ax in found["axes"]] == ["duq", "gradient-confidence"]


def test_more_certain_far_from_the_data_than_among_them(example):
    change = example(NAME)["change"]
    assert set(change) == set(duda.METHODS)
    entropy, epistemic = change["deterministic"]
    assert entropy < 0
    assert epistemic == 0
    assert change["deep-ensemble"][1] > 0
