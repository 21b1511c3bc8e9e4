"""The script on active learning asks for as many labels as it says, each once."""


def test_labels_grow_by_ten_and_are_never_asked_for_twice(example):
    found = example("plot_16_active_learning", needs_data=True)
    assert found["labels"] == list(range(20, found["most"] + 1, 10))
    for runs in found["runs"].values():
        for accuracy, chosen in runs:
            assert list(accuracy) == found["labels"]
            assert len(chosen) == found["most"] == len(chosen.unique())
    starts = {by: runs[0][0][20] for by, runs in found["runs"].items()}
    assert len(set(starts.values())) == 1  # the same first labels, the same network
