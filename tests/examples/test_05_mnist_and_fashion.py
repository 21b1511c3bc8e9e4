import matplotlib.pyplot as plt
import torch

NAME = "plot_05_mnist_and_fashion"


def test_both_sets_are_asked_of_a_network_that_saw_digits_alone(example):
    found = example(NAME, needs_data=True)
    assert found["data"].name == "mnist"
    for name, test in found["tests"].items():
        answer = found["answers"][name]
        assert len(answer) == found["asked"] <= len(test.test[0])
        assert torch.equal(answer.votes.sum(1), torch.full((len(answer),), 20))
    assert 0 <= found["taken"] <= 1


def test_the_ends_are_the_ten_highest_and_lowest_entropies(example):
    found = example(NAME, needs_data=True)
    for name, answer in found["answers"].items():
        ordered = answer.entropy.sort(descending=True).values
        assert torch.equal(found["highest"][name], ordered[:10])


def test_each_picture_has_its_entropy_below_it(example):
    found = example(NAME, needs_data=True)
    found["extremes"]("digits", "again")
    most, least = plt.gcf().axes
    assert len(most.images) == len(least.images) == 10
    captions = [text.get_text().split("\n") for text in most.texts]
    assert [float(words[0]) for words in captions] == [
        round(float(value), 2) for value in found["highest"]["digits"]
    ]
    lowest = found["answers"]["digits"].entropy.sort().values[:10]
    told = torch.tensor([float(text.get_text().split("\n")[0]) for text in least.texts])
    assert torch.allclose(told, lowest, rtol=0.5)
