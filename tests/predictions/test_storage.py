"""Predictions come back from files bit by bit, and what is no such file is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from duda import Categorical, ClassPrediction, Gaussian, GaussianPrediction, load_prediction
from duda.predictions import Prediction
from duda.predictions.storage import FORMAT
from duda.storage import checksum_of, read_safetensors
from tests.predictions.test_base import MAKERS, assert_equal


@pytest.fixture(params=MAKERS)
def answer(request: pytest.FixtureRequest) -> Prediction:
    return MAKERS[request.param]()


def test_round_trip_is_bit_identical(answer: Prediction, tmp_path: Path) -> None:
    path = answer.save(tmp_path / "new" / "answer.safetensors")
    assert path == tmp_path / "new" / "answer.safetensors"
    assert_equal(load_prediction(path), answer)
    assert [file.name for file in path.parent.iterdir()] == ["answer.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype: torch.dtype, tmp_path: Path) -> None:
    for likelihood in (Categorical(), Gaussian()):
        answer = likelihood.reduce(torch.randn(2, 5, 4, dtype=dtype), keep_draws=True)
        back = load_prediction(answer.save(tmp_path / "answer"))
        assert back.draws.dtype == back.aleatoric.dtype == dtype


def test_slices_and_shared_memory_are_saved(answer: Prediction, tmp_path: Path) -> None:
    for part in (answer[1:4], answer[::2], answer[::-1], answer[3:3]):
        assert_equal(load_prediction(part.save(str(tmp_path / "part"))), part)
    ones = torch.ones(2, 1)
    same = GaussianPrediction(ones, ones, ones)
    assert_equal(load_prediction(same.save(tmp_path / "same")), same)


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    first, second = (ClassPrediction.from_probs([[p, 1 - p]]) for p in (0.5, 0.75))
    first.save(tmp_path / "answer")
    assert_equal(load_prediction(second.save(tmp_path / "answer")), second)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -8, -1])
def test_truncated_files_are_told(kept: int, tmp_path: Path) -> None:
    path = numbers().save(tmp_path / "answer")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"answer` is no whole safetensors file.*save it again"):
        load_prediction(path)


def numbers() -> GaussianPrediction:
    return GaussianPrediction([[1.0], [2.0]], [[1.0], [4.0]])


def rewrite(path: Path, metadata: dict[str, str] | None = None, **changed: torch.Tensor) -> Path:
    """Save a prediction as version 0.1 did, with other metadata, and other or no tensors."""
    answer = numbers()
    tensors = {name: getattr(answer, name) for name in ("mean", "aleatoric", "epistemic")} | changed
    tensors = {name: value for name, value in tensors.items() if value.numel()}
    known = {"format": "duda.prediction", "version": "1", "kind": "GaussianPrediction"}
    save_file(tensors, path, known | (metadata or {}))
    return path


def test_files_of_the_first_version_are_read(tmp_path: Path) -> None:
    assert_equal(load_prediction(rewrite(tmp_path / "answer")), numbers())


def test_a_flipped_bit_is_told(tmp_path: Path) -> None:
    path = numbers().save(tmp_path / "answer")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"answer` is damaged, its checksum is wrong"):
        load_prediction(path)


NONE = torch.empty(0)


@pytest.mark.parametrize("name", ["mean", "aleatoric", "epistemic"])
def test_missing_tensors_are_told(name: str, tmp_path: Path) -> None:
    path = rewrite(tmp_path / "answer", **{name: NONE})
    with pytest.raises(ValueError, match=r"answer` holds no valid GaussianPrediction: it holds"):
        load_prediction(path)


def test_unknown_tensors_are_told(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "answer", median=torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"valid GaussianPrediction: it holds .*'median'"):
        load_prediction(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "pt"}, "holds a 'pt', expected a 'duda.prediction'"),
        ({"version": "3"}, "in version '3' of its format, expected at most 2: update duda"),
        ({"kind": "Module"}, "its family is 'Module', expected one of .*PREDICTIONS"),
        ({"kind": "Prediction"}, "its family is 'Prediction', expected one of"),
    ],
)
def test_other_files_are_told(metadata: dict[str, str], message: str, tmp_path: Path) -> None:
    path = rewrite(tmp_path / "answer", metadata)
    with pytest.raises(ValueError, match=f"answer` .*{message}"):
        load_prediction(path)


def test_weights_are_no_prediction(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "weights")
    with pytest.raises(ValueError, match=r"holds a 'set of tensors', expected a 'duda.prediction'"):
        load_prediction(tmp_path / "weights")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mean": torch.zeros(3, 1)}, "`aleatoric` has shape"),
        ({"aleatoric": -torch.ones(2, 1)}, "variance of -1"),
        ({"mean": torch.full((2, 1), torch.nan)}, "2 NaN"),
    ],
)
def test_invalid_values_are_told_with_the_path(
    changed: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    path = rewrite(tmp_path / "answer", **changed)
    with pytest.raises(ValueError, match=f"answer` holds no valid GaussianPrediction: .*{message}"):
        load_prediction(path)


CLASSES = ClassPrediction.from_probs([[0.5, 0.5], [0.25, 0.75]])
WITH_DRAWS = Categorical().reduce(torch.zeros(3, 2, 2), keep_draws=True)


@pytest.mark.parametrize(
    ("answer", "changed", "message"),
    [
        (CLASSES, {"log_probs": torch.full((2, 2), 5.0)}, r"`log_probs` .* add up .* 295\.8 away"),
        (CLASSES, {"log_probs": torch.full((2, 2), -torch.inf)}, "`log_probs` .* 1 away from 1"),
        (CLASSES, {"log_probs": torch.full((2, 2), torch.nan)}, "`log_probs` has 4 NaN"),
        (CLASSES, {"log_probs": torch.zeros(2, 2).long()}, "."),
        (CLASSES, {"log_probs": 3}, "."),
        (CLASSES, {"log_probs": {"kind": 3}}, "."),
        (CLASSES, {"aleatoric": torch.tensor([0.0, 0.8])}, r"\[0, 0.8\], .* 0 to 0.6931 nats"),
        (CLASSES, {"aleatoric": torch.tensor([-0.1, 0.5])}, r"\[-0.1, 0.5\], expected entropies"),
        (CLASSES, {"votes": torch.tensor([[1, 0], [-1, 2]])}, "`votes` is below 0"),
        (CLASSES, {"votes": torch.zeros(2, 2).long()}, "`votes` is below 0, or 0 for all"),
        (CLASSES, {"votes": torch.ones(2, 2)}, "`votes` has dtype torch.float32"),
        (CLASSES, {"joint": 3}, "`joint` is 3, expected True or False"),
        (WITH_DRAWS, {"draws": torch.full((3, 2, 2), 0.8)}, "`draws` .* 0.6 away from 1"),
        (WITH_DRAWS, {"draws": torch.tensor([1.5, -0.5]).expand(3, 2, 2)}, "`draws` holds -0.5"),
        (numbers(), {"epistemic": torch.tensor([[0.0], [-1.0]])}, "`epistemic` has a variance"),
    ],
)
def test_each_value_is_checked(
    answer: Prediction, changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    kind, fields = FORMAT.read(answer.save(tmp_path / "answer"))
    path = FORMAT.write(tmp_path / "answer", kind, fields | changed)
    with pytest.raises(ValueError, match=f"answer` holds no valid {kind}: .*{message}"):
        load_prediction(path)


def test_nested_without_end(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "answer", {"version": "2", "content": "[" * 100_000})
    metadata, tensors = read_safetensors(path)
    save_file(tensors, path, metadata | {"checksum": checksum_of(metadata, tensors)})
    with pytest.raises(ValueError, match=r"no readable state"):
        load_prediction(path)


def test_missing_files_are_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no prediction at .*prediction.save"):
            load_prediction(path)


def test_an_unwritable_target_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "answer", tmp_path / "folder"):
        with pytest.raises(OSError, match=f"cannot write `{target}`: .*choose a path"):
            numbers().save(target)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "in the way"
