"""SDE-Net: each part of the loss trains its own part, and noise grows away from the data."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.datasets import load
from duda.layers import SDEBlock
from tests.sampling.networks import Counter

LABELS = torch.tensor([0, 1, 2, 1, 0])


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)
    ).double()


def model(**settings) -> duda.SDENet:
    return duda.SDENet(network(), duda.Categorical(), **settings)


def inputs() -> Tensor:
    return torch.randn(5, 4, dtype=torch.float64)


def test_each_part_of_the_loss_trains_its_own_part() -> None:
    sde = model().eval()  # without dropout there is no randomness but the noise
    x = inputs()
    torch.manual_seed(1)
    sde.loss(x, LABELS).backward()
    found = {name: weight.grad for name, weight in sde.named_parameters()}
    sde.zero_grad()

    torch.manual_seed(1)
    noisy = x + sde.noise_std * torch.randn_like(x)
    F.cross_entropy(sde(x), LABELS).backward()
    for name, weight in sde.named_parameters():
        if "diffusion" not in name:
            torch.testing.assert_close(found[name], weight.grad)
    sde.zero_grad()

    (block,) = sde.blocks
    known, unknown = (block.diffusion(sde.network[:4](each).detach()) for each in (x, noisy))
    loss = -F.logsigmoid(-known).mean() - F.logsigmoid(unknown).mean()
    loss.backward()
    for name, weight in sde.named_parameters():
        if "diffusion" in name:
            torch.testing.assert_close(found[name], weight.grad)
        else:
            assert weight.grad is None


def test_batch_statistics_see_the_data_once_and_no_noise() -> None:
    sde, x = model(noise_std=100.0), inputs()
    plain = copy.deepcopy(sde.network)
    plain(x)
    sde.loss(x, LABELS).backward()
    assert int(sde.network[1].num_batches_tracked) == 1
    torch.testing.assert_close(sde.network[1].running_var, plain[1].running_var)
    assert all(module.training for module in sde.modules())


def test_the_trunk_runs_once_and_dropout_stays_off() -> None:
    sde = duda.SDENet(nn.Sequential(Counter(), *network()), duda.FixedGaussian(), samples=30)
    answer = sde.predict(inputs(), seed=0, chunk=7)
    assert sde.network[0].rows == [5]
    (block,) = sde.blocks
    block.diffusion[-1].bias.data.fill_(-math.inf)
    still = sde.predict(inputs(), seed=0)
    assert (answer.epistemic > 0).all()
    assert still.epistemic.max() < 1e-20


def test_paths_have_the_law_of_forward() -> None:
    sde, x, count = model(), inputs(), 1000
    answer = duda.SDENet(sde.network, duda.FixedGaussian(), count).predict(x, keep_draws=True)
    draws = answer.draws[:, :, :3]
    with torch.no_grad():
        expected = torch.stack([sde.eval()(x) for _ in range(count)])
    error = ((draws.var(0) + expected.var(0)) / count).sqrt()
    assert ((draws.mean(0) - expected.mean(0)).abs() <= 5 * error).all()
    # The head is linear, and the noise nearly normal: a variance's error is σ² √(2 / n).
    ratio = (draws.var(0) / expected.var(0)).log().abs()
    assert (ratio <= 5 * math.sqrt(4 / count) * 1.2).all()


def test_blocks_of_a_network_are_taken_as_they_are() -> None:
    def diffusion() -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1))

    net = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        SDEBlock(nn.Conv2d(6, 6, 3, padding=1), diffusion(), steps=2),
        nn.ReLU(),
        SDEBlock(nn.Conv2d(6, 6, 3, padding=1), diffusion(), steps=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    sde = duda.SDENet(net, duda.Categorical())
    assert sde.network is net
    assert len(sde.blocks) == 2
    x = torch.randn(5, 1, 8, 8)
    sde.loss(x, LABELS).backward()
    assert all(weight.grad.isfinite().all() for weight in sde.parameters())
    assert (sde.predict(x, seed=0).epistemic > 0).all()


def test_named_inputs_get_noise_where_they_are_numbers() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(3, 4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor, kind: Tensor) -> Tensor:
            return self.head(torch.tanh(x + self.embedding(kind)))

    sde = duda.SDENet(Named(), duda.Categorical())
    named = {"x": torch.randn(5, 4), "kind": LABELS}
    sde.loss(named, LABELS).backward()
    assert torch.equal(sde._noisy(named)["kind"], LABELS)
    assert (sde.predict(named, seed=0).epistemic > 0).all()
    with pytest.raises(ValueError, match="`x` has no floating-point input"):
        sde.loss({"kind": LABELS}, LABELS)


def test_after_training_noise_is_larger_where_no_data_were() -> None:
    moons = load("two-moons")
    net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 2))
    sde = duda.SDENet(net, duda.Categorical(), noise_std=4.0)
    duda.fit(sde, moons.train, epochs=25, lr=3e-3, batch_size=64, seed=0)
    assert (sde.predict(moons.test[0], seed=0).labels == moons.test[1]).float().mean() > 0.9
    (block,) = sde.blocks
    near, far = (
        block.diffusion_logits(sde.network[:2](each)).detach().flatten()
        for each in (moons.test[0], moons.ood)
    )
    score = torch.cat([near, far])
    assert near.median() < 0 < far.median()
    assert duda.evaluation.rank(score, torch.arange(len(score)) >= len(near)).auroc > 0.95


def test_settings_reach_new_blocks_and_those_of_the_network() -> None:
    own = SDEBlock(nn.Linear(4, 4), nn.Linear(4, 1), steps=3, t1=2.0, sigma_max=7.0)
    given = {"sigma_max": 20.0, "predict_sigma_max": 500.0, "steps": 5, "t1": 0.5}
    for net in (network(), nn.Sequential(own, nn.Linear(4, 3))):
        sde = duda.SDENet(net, duda.Categorical(), **given)
        (block,) = sde.blocks
        found = (block.sigma_max, block.eval_sigma_max, block.steps, block.t1)
        assert found == tuple(given.values())
        assert sde.arguments() == {"samples": 20, "noise_std": 2.0} | given
        assert "predict_sigma_max=500.0" in repr(sde)
    kept = SDEBlock(nn.Linear(4, 4), nn.Linear(4, 1), steps=3, t1=2.0, sigma_max=7.0)
    duda.SDENet(nn.Sequential(kept, nn.Linear(4, 3)), duda.Categorical(), steps=4)
    assert (kept.sigma_max, kept.eval_sigma_max, kept.steps, kept.t1) == (7.0, None, 4, 2.0)


def test_predictions_have_a_noise_of_their_own() -> None:
    sde = model(sigma_max=1.0, predict_sigma_max=50.0, samples=200)
    same = duda.SDENet(copy.deepcopy(sde.network), duda.Categorical(), sigma_max=50.0)
    for block in same.blocks:
        block.eval_sigma_max = None
    x, plain = inputs(), model(sigma_max=1.0)
    plain.network.load_state_dict(sde.network.state_dict())
    assert torch.equal(sde.predict(x, seed=0).probs, same.predict(x, seed=0, samples=200).probs)
    assert (sde.predict(x, seed=0).epistemic > plain.predict(x, seed=0).epistemic).all()
    torch.manual_seed(0)
    trained = sde.train().loss(x, LABELS)
    torch.manual_seed(0)
    torch.testing.assert_close(trained, plain.train().loss(x, LABELS))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("factor", [1e-3, 1e4])
def test_noise_of_a_new_block_is_in_units_of_its_state(factor: float, trained: bool) -> None:
    """Larger features with a smaller last layer are the same network."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    other = copy.deepcopy(net)
    with torch.no_grad():
        for weight in other[0].parameters():
            weight *= factor
        other[2].weight /= factor
    models = [duda.SDENet(each, duda.FixedGaussian(0.1), sigma_max=3.0) for each in (net, other)]
    models[1].network[2][0].load_state_dict(models[0].network[2][0].state_dict())
    x, found = inputs(), []
    for sde in models:
        (block,) = sde.blocks
        if trained:
            sde.train()(x)
            assert block.scale > 0
        for part in (block.drift, block.diffusion):  # which are not of that scale
            nn.init.zeros_(part[-1].weight)
            nn.init.zeros_(part[-1].bias)
        found.append(sde.predict(x, seed=0).std)
    torch.testing.assert_close(*found)


def test_the_unit_is_that_of_the_first_batch_and_part_of_a_file() -> None:
    sde, x = model(), inputs()
    (block,) = sde.blocks
    sde.predict(x)
    assert block.scale == 0
    sde.eval()
    expected = sde.network[:4](x).square().mean().sqrt()
    sde(x)
    assert block.scale == 0
    block.train()(sde.network[:4](x))
    torch.testing.assert_close(block.scale, expected.detach())
    block(100 * sde.network[:4](x))
    torch.testing.assert_close(block.scale, expected.detach())
    other = model()
    other.load_state_dict(sde.state_dict())
    assert torch.equal(other.blocks[0].scale, block.scale)
    assert "scale" not in SDEBlock(nn.Linear(4, 4), nn.Linear(4, 1)).state_dict()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: model(sigma_max=0.0), "`sigma_max` is 0.0, expected a number above 0"),
        (lambda: model(predict_sigma_max=math.nan), "`predict_sigma_max` is nan"),
        (lambda: model(steps=0), "`steps` is 0"),
        (lambda: model(t1=-1.0), "`t1` is -1.0"),
        (lambda: model(noise_std=0.0), "`noise_std` is 0.0, expected a number above 0"),
        (lambda: model(noise_std=math.inf), "`noise_std` is inf"),
        (lambda: model(samples=0), "`samples` is 0"),
        (lambda: duda.SDENet(nn.ReLU(), duda.Categorical()), "a ReLU, has no `nn.Linear`"),
        (
            lambda: duda.SDENet(nn.Linear(4, 3), duda.Categorical()).loss(
                torch.zeros(5, 2, 4), LABELS
            ),
            r"`diffusion` returned shape \(5, 2, 1\) for states of shape \(5, 2, 4\)",
        ),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
