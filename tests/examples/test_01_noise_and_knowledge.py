import pytest


@pytest.fixture
def found(example):
    return example("plot_01_noise_and_knowledge")


def mean_std(found, name, part):
    return float(getattr(found[name], part)[found["inside"]].sqrt().mean())


def test_aleatoric_follows_the_noise(found):
    constant, rising = found["known"].aleatoric.sqrt(), found["noisy"].aleatoric.sqrt()
    edge, middle = found["x"].abs() > 3, found["x"].abs() < 1
    within = found["inside"][:, None]
    assert rising[edge & within].mean() > 2 * rising[middle].mean()
    assert constant[edge & within].mean() < 2 * constant[middle].mean()


def test_epistemic_falls_with_examples_and_rises_beyond_them(found):
    assert mean_std(found, "ignorant", "epistemic") > 2 * mean_std(found, "known", "epistemic")
    known = found["known"].epistemic.sqrt()
    assert known[~found["inside"]].mean() > 3 * known[found["inside"]].mean()


def test_what_a_line_cannot_bend_to_it_calls_noise(found):
    assert mean_std(found, "simple", "aleatoric") > 2 * mean_std(found, "known", "aleatoric")
    assert mean_std(found, "simple", "epistemic") < mean_std(found, "simple", "aleatoric") / 4
