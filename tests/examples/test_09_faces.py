"""People are told from a model that never looks, by what is measured face by face alone."""


def test_people_are_the_best_model_but_not_by_the_majority(example):
    rows = example("plot_09_faces", needs_data=True)["rows"]
    people = rows.pop("people")
    assert people["distance to votes"] < 1e-6
    assert people["ECE by votes"] < 1e-6
    assert people["ECE by majority"] > 0.15
    for found in rows.values():
        assert found["NLL, nats"] > people["NLL, nats"] + 0.5
        assert found["distance to votes"] > 0.4
    assert rows["same for all"]["ECE by majority"] < people["ECE by majority"]


def test_every_method_has_a_point_for_each_number_of_draws(example):
    found = example("plot_09_faces", needs_data=True)
    assert set(found["curves"]) == {"MC-Dropout", "MC-DropConnect", "ensemble"}
    for name, points in found["curves"].items():
        assert len(points) == len(found["sizes"])
        assert points[-1] == found["rows"][name]


def test_averaging_never_costs_likelihood_in_the_mean(example):
    """By Jensen: the mean of all has at most the mean NLL of its members, one by one."""
    found = example("plot_09_faces", needs_data=True)
    for points in found["curves"].values():
        assert points[-1]["NLL, nats"] <= points[0]["NLL, nats"] + 1e-6


def test_the_faces_shown_are_the_most_uncertain_ones(example):
    found = example("plot_09_faces", needs_data=True)
    entropies = found["answers"]["ensemble"].entropy
    titles = [ax.get_title() for ax in found["axes"][0]]
    expected = entropies.sort(descending=True).values[:5]
    assert titles == [f"{entropy:.2f} nats" for entropy in expected.tolist()]
    assert [len(ax.patches) for ax in found["axes"][1]] == [16] * 5
