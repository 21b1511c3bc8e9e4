"""Fusion of detections: the boxes of an ensemble's members, or of draws, clustered and averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.boxes.geometry import iou as overlaps_of
from duda.checks import check_flag, check_share
from duda.predictions.boxes import BoxPrediction

__all__ = ["merge"]


def merge(
    members: Sequence[BoxPrediction], iou: float = 0.5, *, by_class: bool = False
) -> BoxPrediction:
    """Return what M members say together of one picture, the surest box first.

    The surest box that is in no cluster yet starts one; of each other member the box that overlaps
    it most, if by `iou`, belongs to it. A member without one says background. So probabilities are
    means over all M, and corners are a mixture with weights in proportion to existence: its mean,
    and its covariance as the mean of the members' (`within`) and that of their means (`between`).
    Source: clusters as in Solovyev et al. 2021, Weighted boxes fusion, but by the first box;
    the law of total variance.

    Args:
        members: what each says of the picture, after its own non-maximum suppression.
        iou: the least overlap of boxes of one object.
        by_class: whether boxes of one object must agree in the class. Without, members that
            disagree are one box, unsure of its class; with it, several that few members see.

    Raises:
        ValueError: if there are no members, or they know different classes.

    >>> import torch
    >>> one = BoxPrediction([[0, 0, 4, 4]], [[0.8]])
    >>> other = BoxPrediction([[0, 0, 4, 6]], [[0.4]])
    >>> found = merge([one, other, BoxPrediction([], torch.zeros(0, 1))])
    >>> found.boxes[0, 3], found.existence, found.votes
    (tensor(4.6667, dtype=torch.float64), tensor([0.4000], dtype=torch.float64), tensor([2]))
    """
    least = check_share(iou, "iou")
    check_flag(by_class, "by_class")
    _check_members(members)
    sizes = torch.tensor([len(each) for each in members])
    everything = BoxPrediction.concatenate([_alone(each) for each in members])
    owner = torch.repeat_interleave(torch.arange(len(members)), sizes).to(everything.device)
    order = _surest_first(everything)
    everything, owner = everything[order], owner[order]
    cluster = _clusters(everything, owner, least, by_class)
    return _averaged(everything, cluster, len(members))


def _check_members(members: Sequence[BoxPrediction]) -> None:
    if isinstance(members, BoxPrediction) or not len(members):
        raise ValueError("`members` holds none, expected a list of a `BoxPrediction` for each.")
    for place, each in enumerate(members):
        if not isinstance(each, BoxPrediction):
            raise TypeError(
                f"`members[{place}]` is a {type(each).__name__}, expected a `BoxPrediction`."
            )
    classes = sorted({each.probs.shape[1] for each in members})
    if len(classes) > 1:
        raise ValueError(f"`members` know {classes} classes, expected the same of each.")


def _alone(member: BoxPrediction) -> BoxPrediction:
    """Return what a member says as one voice, whatever it was merged from."""
    return BoxPrediction(member.boxes, member.probs, member.covariance)


def _surest_first(found: BoxPrediction) -> Int[Tensor, "K"]:
    """Return an order that depends on what is said alone, not on who said it."""
    keys = torch.cat([-found.existence.unsqueeze(1), -found.probs, found.boxes], 1)
    order = torch.arange(len(keys), device=keys.device)
    for key in keys.flip(1).unbind(1):
        order = order[key[order].argsort(stable=True)]
    return order


def _clusters(
    found: BoxPrediction, owner: Int[Tensor, "K"], least: float, by_class: bool
) -> Int[Tensor, "K"]:
    """Return the cluster of each of the boxes, the surest first."""
    near = overlaps_of(found.boxes, found.boxes)
    if by_class:
        near = near.where(found.labels[:, None] == found.labels, 0.0)
    near, voices = near.cpu(), owner.cpu()
    cluster = torch.full((len(near),), -1)
    count = 0
    for first in range(len(near)):
        if cluster[first] < 0:
            free = (cluster < 0) & (voices != voices[first]) & (near[first] >= least)
            cluster[[first, *_best_of_each(near[first], voices, free)]] = count
            count += 1
    return cluster.to(owner.device)


def _best_of_each(
    near: Float[Tensor, "K"], voices: Int[Tensor, "K"], free: Bool[Tensor, "K"]
) -> list[int]:
    """Return the free box of each member that is nearest, of equal ones the surest."""
    best: dict[int, int] = {}
    for place in free.nonzero().flatten().tolist():
        voice = int(voices[place])
        if voice not in best or near[place] > near[best[voice]]:
            best[voice] = place
    return list(best.values())


def _averaged(found: BoxPrediction, cluster: Int[Tensor, "K"], members: int) -> BoxPrediction:
    """Return the mixture of each cluster."""
    count = int(cluster.max()) + 1 if len(cluster) else 0

    def summed(values: Tensor) -> Tensor:
        return values.new_zeros(count, *values.shape[1:]).index_add(0, cluster, values)

    weight = found.existence.clamp(min=torch.finfo(torch.float64).tiny)
    weight = weight / summed(weight)[cluster]
    middle = summed(weight[:, None] * found.boxes)
    apart = found.boxes - middle[cluster]
    spread = apart.unsqueeze(2) * apart.unsqueeze(1)
    merged = BoxPrediction(
        middle,
        summed(found.probs) / members,
        summed(weight[:, None, None] * found.covariance),
        summed(weight[:, None, None] * spread),
        summed(torch.ones_like(cluster)),
        members,
    )
    return merged[_surest_first(merged)]
