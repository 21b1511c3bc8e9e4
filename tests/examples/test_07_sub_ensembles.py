"""The script on sub-ensembles starts them all from the same network."""

import pytest
import torch


def test_one_member_is_the_same_network_everywhere(example):
    found = example("plot_07_sub_ensembles", needs_data=True)
    first, *others = (each[0] for each in found["answers"].values())
    for probs in others:
        torch.testing.assert_close(probs, first)
    for lines in found["found"].values():
        assert {len(line) for line in lines.values()} == {found["members"]}
        assert len({round(line[0], 6) for line in lines.values()}) == 1


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_rest_is_the_trunk(example, blocks):
    found = example("plot_07_sub_ensembles", needs_data=True)
    model = found["models"][f"{blocks} block{'s' * (blocks > 1)}"]
    one, two = (list(member.children()) for member in model.members[:2])
    same = [a is b for a, b in zip(one, two, strict=True)]
    assert same == [True] * (10 - blocks) + [False] * (blocks + 1)
