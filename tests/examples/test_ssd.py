"""The detector of the gallery: its geometry, its losses against loops, and that it learns."""

import runpy
from types import SimpleNamespace

import pytest
import torch

from tests.examples.conftest import EXAMPLES

ssd = SimpleNamespace(**runpy.run_path(str(EXAMPLES / "ssd.py")))
DEFAULTS = ssd.default_boxes(48, 64)


def some_boxes(n, seed=0):
    """Return boxes with whole corners within 48 x 64 pixels."""
    random = torch.Generator().manual_seed(seed)
    x = torch.stack([torch.randperm(64, generator=random)[:2].sort()[0] for _ in range(n)])
    y = torch.stack([torch.randperm(48, generator=random)[:2].sort()[0] for _ in range(n)])
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1).float()


@pytest.mark.parametrize(("height", "width"), [(48, 64), (49, 63), (120, 160)])
def test_there_is_an_output_for_each_default_box(height, width):
    scores, offsets = ssd.SSD(3)(torch.zeros(2, 3, height, width))
    boxes = ssd.default_boxes(height, width)
    assert scores.shape == (2, len(boxes), 4)
    assert offsets.shape == (2, len(boxes), 4)


def test_outputs_come_in_the_order_of_the_default_boxes():
    """A head that tells its place, by its shape, gives the default boxes as they are listed."""
    network = ssd.SSD(3)
    rows, columns = 6, 8  # of the finer map
    place = torch.arange(rows * columns).view(1, 1, rows, columns).expand(1, 64, -1, -1).float()
    network.fine = torch.nn.Sequential(SimpleModule(place))
    for i, head in enumerate(network.heads):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        if i == 0:  # the first score of shape k is the place, plus k thousand
            head.weight.data[:: network.outputs, 0, 1, 1] = 1
            head.bias.data[:: network.outputs] = 1000 * torch.arange(4.0)
    scores = network.eval()(torch.zeros(1, 3, 48, 64))[0][0, :, 0]
    for k in range(4 * rows * columns):
        box = DEFAULTS[k]
        x, y = (float((box[i] + box[i + 2]) / 2) for i in (0, 1))
        assert scores[k] == 1000 * (k % 4) + (y - 4) / 8 * columns + (x - 4) / 8


class SimpleModule(torch.nn.Module):
    """Returns the same features for all pictures."""

    def __init__(self, features):
        super().__init__()
        self.features = features

    def forward(self, x):
        return self.features


def test_default_boxes_have_the_area_and_the_shape_asked_for():
    sides = DEFAULTS[:, 2:] - DEFAULTS[:, :2]
    wanted = [shape for _, shapes in ssd.MAPS for shape in shapes]
    fine, coarse = sides[:4], sides[-4:]
    for (side, ratio), (width, height) in zip(wanted, torch.cat([fine, coarse]), strict=True):
        assert float(width * height) == pytest.approx(side**2, rel=1e-5)
        assert float(width / height) == pytest.approx(ratio, rel=1e-5)


def test_overlap_is_what_counting_pixels_says():
    a, b = some_boxes(6), some_boxes(5, seed=1)

    def pixels(box):
        grid = torch.zeros(48, 64, dtype=torch.bool)
        left, top, right, bottom = (int(v) for v in box)
        grid[top:bottom, left:right] = True
        return grid

    for i, row in enumerate(ssd.overlap(a, b)):
        for j, share in enumerate(row):
            one, two = pixels(a[i]), pixels(b[j])
            expected = float((one & two).sum()) / float((one | two).sum())
            assert float(share) == pytest.approx(expected, abs=1e-6)


def test_offsets_lead_back_to_the_boxes():
    boxes = some_boxes(len(DEFAULTS))
    offsets = ssd.offsets_of(boxes, DEFAULTS)
    assert torch.allclose(ssd.boxes_of(offsets, DEFAULTS), boxes, atol=1e-3)
    assert ssd.offsets_of(DEFAULTS, DEFAULTS).abs().max() < 1e-5


def test_offsets_by_hand():
    """To the right by half its width, and twice as high; divided by 0.1 and 0.2 as in the paper."""
    offsets = ssd.offsets_of(torch.tensor([[5.0, -5, 15, 15]]), torch.tensor([[0.0, 0, 10, 10]]))
    expected = torch.tensor([[0.5 / 0.1, 0.0, 0.0, 2 * 0.34657359 / 0.2]])
    assert torch.allclose(offsets, expected)


def test_boxes_find_their_default_boxes():
    boxes = torch.cat([DEFAULTS[17:18], torch.tensor([[30.0, 20, 31, 21]])])
    labels, offsets = ssd.match(boxes, torch.tensor([2, 0]), DEFAULTS)
    assert labels[17] == 3
    assert offsets[17].abs().max() < 1e-5
    shares = ssd.overlap(boxes, DEFAULTS)
    tiny = int(shares[1].argmax())
    assert shares[1, tiny] < 0.5  # it overlaps nothing by a half, and has the nearest all the same
    assert labels[tiny] == 1
    expected = (shares[0] > 0.5).nonzero().squeeze(1)
    assert (labels == 3).nonzero().squeeze(1).tolist() == expected.tolist()
    assert int((labels > 0).sum()) == len(expected) + 1


def test_a_picture_without_boxes_is_background():
    labels, offsets = ssd.match(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), DEFAULTS)
    assert not labels.any()
    said = torch.randn(1, len(DEFAULTS), 4), torch.randn(1, len(DEFAULTS), 4)
    found = ssd.losses(said, (labels[None], offsets[None]))
    assert {name: float(value) for name, value in found.items()} == {
        "classification": 0,
        "localisation": 0,
    }


def test_losses_are_those_of_a_loop():
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 20, 4, generator=random)
    offsets, targets = (2 * torch.randn(2, 20, 4, generator=random) for _ in range(2))
    labels = torch.zeros(2, 20, dtype=torch.long)
    labels[0, [3, 8]] = torch.tensor([1, 3])
    labels[1, 5] = 2
    found = ssd.losses((scores, offsets), (labels, targets))
    for i in range(2):
        boxed, background, apart = [], [], []
        for a in range(20):
            entropy = -float(scores[i, a].log_softmax(0)[labels[i, a]])
            (boxed if labels[i, a] else background).append(entropy)
            if labels[i, a]:
                away = (offsets[i, a] - targets[i, a]).abs()
                apart.append(float(torch.where(away < 1, away**2 / 2, away - 0.5).sum()))
        worst = sorted(background)[-3 * len(boxed) :]
        expected = (sum(boxed) + sum(worst)) / len(boxed)
        assert float(found["classification"][i]) == pytest.approx(expected, rel=1e-5)
        assert float(found["localisation"][i]) == pytest.approx(sum(apart) / len(boxed), rel=1e-5)


def perfect(boxes, labels):
    """Return the outputs of a network that says just what is wanted."""
    wanted, offsets = ssd.match(boxes, labels, DEFAULTS)
    return 20 * torch.nn.functional.one_hot(wanted, 4).float(), offsets


def test_what_is_said_rightly_is_detected_once():
    boxes = torch.tensor([[3.0, 5, 12, 14], [20, 10, 46, 34], [1, 2, 50, 48]])
    labels = torch.tensor([2, 0, 1])
    scores, offsets = perfect(boxes, labels)
    assert int((scores[:, 1:] > 0).sum()) > 3  # several default boxes stand for one box
    found, kinds = ssd.detect(scores, offsets, DEFAULTS)
    order = kinds.argsort()
    assert kinds[order].tolist() == [0, 1, 2]
    assert torch.allclose(found[order], boxes[[1, 2, 0]], atol=1e-3)


def test_of_rivals_the_surest_stays_and_other_classes_are_none():
    offsets = torch.zeros(len(DEFAULTS), 4)
    offsets[1] = ssd.offsets_of(DEFAULTS[:1], DEFAULTS[1:2])  # both are the first default box
    scores = torch.zeros(len(DEFAULTS), 4)
    scores[:, 0] = 5
    scores[0, 2], scores[1, 2] = 8, 9
    found, kinds = ssd.detect(scores, offsets, DEFAULTS)
    assert kinds.tolist() == [1]
    assert torch.allclose(found, DEFAULTS[:1], atol=1e-3)
    scores[0, 2], scores[0, 3] = 0, 8
    assert ssd.detect(scores, offsets, DEFAULTS)[1].tolist() == [1, 2]
    scores[:, 1:] = 0
    assert [len(part) for part in ssd.detect(scores, offsets, DEFAULTS)] == [0, 0]


@pytest.mark.parametrize("dims", [(), (2,), (3,), (2, 3)])
def test_boxes_move_with_mirrored_pictures(dims):
    box = some_boxes(1)
    left, top, right, bottom = (int(v) for v in box[0])
    picture = torch.zeros(1, 1, 48, 64)
    picture[..., top:bottom, left:right] = 1
    left, top, right, bottom = (int(v) for v in ssd.mirrored(box, dims, 48, 64)[0])
    inside = picture.flip(dims)[..., top:bottom, left:right]
    assert inside.all()
    assert inside.sum() == picture.sum()


def test_what_was_found_and_what_is_right():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [0, 30, 10, 40]])
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    truth = [(boxes, torch.tensor([0, 0, 1])), none]
    found = [(boxes[[0, 2]] + 1, torch.tensor([0, 0])), (boxes[:1], torch.tensor([0]))]
    assert ssd.found_and_right(truth, found, 0) == (1 / 2, pytest.approx(1 / 3))
    assert ssd.found_and_right(truth, [none, none], 1)[0] == 0


def test_matching_many_is_matching_each():
    boxes, labels = [some_boxes(3), some_boxes(2, seed=1)], [torch.arange(3), torch.arange(2)]
    wanted, offsets = ssd.match_all(boxes, labels, DEFAULTS)
    for i in range(2):
        expected = ssd.match(boxes[i], labels[i], DEFAULTS)
        assert torch.equal(wanted[i], expected[0])
        assert torch.equal(offsets[i], expected[1])


def test_the_network_learns_a_picture():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 48, 64)
    boxes, labels = torch.tensor([[20.0, 10, 46, 34]]), torch.tensor([1])
    wanted = ssd.match_all([boxes] * 2, [labels] * 2, DEFAULTS)
    network = ssd.SSD(3)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    course = []
    for _ in range(30):
        loss = sum(ssd.losses(network(x), wanted).values()).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(bool(weight.grad.any()) for weight in network.parameters())
        optimizer.step()
        course.append(loss.item())
    assert course[-1] < 0.1 * course[0]
    scores, offsets = network(x)
    found, kinds = ssd.detect(scores[0].detach(), offsets[0].detach(), DEFAULTS)
    assert kinds.tolist() == [1]
    assert float(ssd.overlap(found, boxes)) > 0.7
