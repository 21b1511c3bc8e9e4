"""
Sub-ensembles: one trunk, many heads
====================================

A deep ensemble asks M whole networks. A sub-ensemble shares the first layers, which see edges and
corners whoever looks, and has M heads: it costs less to train and to ask. How much is lost, and how
much gained, if the heads are the last one, two or three blocks of a ResNet-20? Look at the lines
falling with the number of members, and at what each speed-up costs. Source: Valdenegro-Toro 2019,
"Deep Sub-Ensembles for Fast Uncertainty Estimation in Image Classification", who found speed-ups of
1.5 to 2.5.
"""

import os
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import duda

quick = os.environ.get("DUDA_QUICK") == "1"
members, count, epochs, side = (2, 96, 1, 8) if quick else (5, 2000, 10, 16)

# %%
# A subset of CIFAR-10, at half its resolution, so that a laptop is enough.
data = duda.datasets.cifar_10(batches=(1,))
x, x_test = (F.adaptive_avg_pool2d(part[0][:count], side) for part in (data.train, data.test))
y, y_test = data.train[1][:count], data.test[1][:count]


# %%
# The network: ResNet-20 (He et al. 2016, section 4.2), three stages of three blocks.
class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.stride, self.grown = stride, outputs - inputs

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        around = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.grown))
        return F.relu(out + around)


def resnet():
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    shapes = (
        [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
    )
    top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return nn.Sequential(stem, *(Block(*shape) for shape in shapes), top)


# %%
# A deep ensemble first. Its first member is also the trunk of each sub-ensemble (``trained=``), so
# that all start from the same network, and only heads are left to train.
torch.manual_seed(0)
settings = {"epochs": epochs, "batch_size": 64, "seed": 0}
ensemble = duda.DeepEnsemble(resnet, duda.Categorical(), members)
duda.fit(ensemble, (x, y), **settings)

models = {"whole networks": ensemble}
for blocks in (3, 2, 1):
    trunk = [str(layer) for layer in range(10 - blocks)]  # the stem and what is not in the heads
    model = duda.SubEnsemble(
        resnet, duda.Categorical(), trunk, members, trained=ensemble.members[0]
    )
    duda.fit(model, (x, y), **settings)
    models[f"{blocks} block{'s' * (blocks > 1)}"] = model

# %%
# More members, fewer errors?
# ---------------------------
# Any ensemble can be asked with its first m members only.
measures = {
    "error": lambda probs: 1 - duda.evaluation.accuracy(probs, y_test),
    "NLL, nats": lambda probs: duda.evaluation.nll(probs, y_test),
    "ECE": lambda probs: duda.evaluation.reliability(probs, y_test).ece,
}
sizes = range(1, members + 1)
answers = {name: [m.predict(x_test, members=k).probs for k in sizes] for name, m in models.items()}
found = {
    measure: {name: [value(probs) for probs in each] for name, each in answers.items()}
    for measure, value in measures.items()
}
figure, axes = plt.subplots(1, 3, figsize=(8, 3.4), layout="constrained")
for ax, (measure, lines) in zip(axes, found.items(), strict=True):
    for (name, line), style in zip(lines.items(), ("k-", "C0-o", "C1--s", "C2:^"), strict=True):
        ax.plot(sizes, line, style, ms=4, label=name)
    ax.set(title=measure, xlabel="members", xticks=sizes)
figure.legend(*axes[0].get_legend_handles_labels(), ncols=4, loc="outside lower center")

# %%
# Heads on one trunk share many of its mistakes: most of what they gain comes with the second one,
# and little after the third. Whole networks, each wrong in a way of its own, go on.


# %%
# And how much faster?
# --------------------
# Whole networks and heads are asked in turn, five times, and the median of the ratios is told.
def seconds(model):
    start = time.perf_counter()
    model.predict(x_test[:128])
    return time.perf_counter() - start


print(f"{'in each head':16} speed-up  error    NLL    ECE   ({members} members)")
speed_up = {}
for name, model in models.items():
    ratios = [seconds(ensemble) / seconds(model) for _ in range(1 if quick else 5)]
    speed_up[name] = float(torch.tensor(ratios).median())
    last = "  ".join(f"{lines[name][-1]:.3f}" for lines in found.values())
    print(f"{name:16} {speed_up[name]:7.1f}   {last}")
