"""The explorer's numbers are those of counting anew at each threshold."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duda import Gate
from duda.reporting import report
from duda.reporting.evidence import Evidence
from duda.reporting.explorer import explorer, steps
from tests.reporting.conftest import class_prediction, number_prediction

few = st.lists(st.sampled_from([0.0, 0.5, 0.75, 2.0]), min_size=1, max_size=30)


@given(few, few, st.data())
def test_each_step_counts_what_lies_up_to_it(own, other, data):
    score, ood = torch.tensor(own), torch.tensor(other)
    loss = torch.tensor(data.draw(st.lists(st.floats(0, 9), min_size=len(own), max_size=len(own))))
    found = steps(score, loss, ood)
    assert found.thresholds[0] == -torch.inf
    for at, threshold in enumerate(found.thresholds):
        inside = score <= threshold
        assert found.accepted[at] == inside.sum()
        assert float(found.lost[at]) == pytest.approx(float(loss.double()[inside].sum()), abs=1e-9)
        assert found.ood[at] == (ood <= threshold).sum()
    assert found.accepted[-1] == len(score)


def test_many_scores_are_thinned_and_wanted_thresholds_stay():
    score = torch.rand(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = steps(score, torch.zeros(5000), None, wanted=[float(score[7])])
    assert len(found.thresholds) <= 402
    assert float(score[7]) in found.thresholds.tolist()
    assert found.accepted[-1] == 5000


def made(pictures=None):
    predictions = {"one": class_prediction(0), "two": class_prediction(1)}
    ood = {"noise": {"one": class_prediction(2, 20), "two": class_prediction(3, 20)}}
    y = torch.arange(60) % 4
    return predictions, y, explorer(Evidence.of(predictions, y, ood=ood, inputs=pictures))


def test_presets_stand_at_the_step_that_accepts_what_the_gate_does():
    predictions, _, found = made()
    for method, prediction in predictions.items():
        preset = found.methods[method]["presets"]["keep 95 %"]
        at = found.methods[method]["thresholds"].index(preset["threshold"])
        gate = Gate.keep(0.95).fit(prediction)
        assert found.methods[method]["accepted"][at] == int(gate(prediction).accepted.sum())
        assert preset["summary"] == gate.summary()


def test_a_gate_that_refuses_nothing_has_no_finite_threshold():
    known, far = (number_prediction(seed) for seed in (0, 1))
    far = type(far)(far.mean, far.aleatoric + 100, None)
    found = explorer(Evidence.of({"one": known}, known.mean, ood={"far": far}))
    one = found.methods["one"]
    preset = one["presets"]["1 % false alarms"]  # of 60 examples it can refuse none
    assert Gate.false_alarm(0.01).fit(known)(far).accepted.all()
    at = one["thresholds"].index(preset["threshold"])
    assert (preset["threshold"], one["ood"][at]) == ("inf", len(far))


def test_methods_keep_their_order_and_names_in_json():
    names = ["net", "2", "1", "a  b "]
    found = explorer(Evidence.of(dict.fromkeys(names, class_prediction(0)), [0] * 60))
    assert [each["name"] for each in json.loads(found.json)["methods"]] == names


def test_a_guarantee_that_cannot_be_made_says_why():
    _, _, found = made()  # three in four answers are wrong
    refused = found.methods["one"]["presets"]["1 % errors"]
    assert set(refused) == {"refused"}
    assert refused["refused"].endswith(".")


def test_the_code_of_each_preset_runs(labels):
    import duda

    predictions, y, found = made()
    for preset in found.methods["one"]["presets"].values():
        if "code" in preset:
            gate = eval(preset["code"], {"duda": duda}).fit(predictions["one"], y)  # our own text
            assert gate.summary() == preset["summary"]


def test_pictures_are_kept_once_and_lie_in_the_doubted_half():
    predictions, _, found = made(torch.rand(60, 1, 8, 8))
    shown = set()
    for method, prediction in predictions.items():
        looks = found.methods[method]["looks"]
        assert 0 < len(looks) <= 24
        scores = [each["score"] for each in looks]
        assert scores == sorted(scores)
        assert scores[0] >= float(prediction.score.median())
        shown |= {each["index"] for each in looks}
    assert set(found.pictures) == shown


def test_numbers_have_the_gates_that_need_no_labels(targets):
    found = explorer(Evidence.of({"one": number_prediction(0)}, targets))
    assert found.presets == ["keep 95 %", "1 % false alarms"]
    assert found.methods["one"]["ood"] is None
    total = float((number_prediction(0).mean - targets).square().sum())
    assert found.methods["one"]["lost"][-1] == pytest.approx(total)


def test_what_has_a_score_for_each_position_has_no_explorer():
    prediction = number_prediction(0)
    wide = type(prediction)(prediction.mean.repeat(1, 2), prediction.aleatoric.repeat(1, 2), None)
    assert explorer(Evidence.of({"one": wide}, torch.zeros(60, 2))) is None


def test_infinite_scores_stay_json(labels):
    from duda import ScoredClassPrediction

    prediction = class_prediction(0)
    score = prediction.entropy.clone()
    score[0] = torch.inf
    scored = ScoredClassPrediction.from_prediction(prediction, score)
    page = report({"one": scored}, labels)
    content = json.loads(page.explorer.json)
    assert content["methods"][0]["thresholds"][-1] == "inf"
