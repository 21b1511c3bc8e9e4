"""
Cats, dogs, and then a ship
===========================

A network that was shown nothing but cats and dogs has two answers, whatever it sees. Shown a ship,
it must call it one or the other. Which doubt tells? Four are asked: the confidence of a softmax, a
deep ensemble, DUQ, which measures the distance to the classes, and Mahalanobis' distance in the
features of the first network. Then a gate refuses. Sources: Hendrycks & Gimpel 2017;
Lakshminarayanan et al. 2017; van Amersfoort et al. 2020; Lee et al. 2018.
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.plots.pictures import pictures

quick = os.environ.get("DUDA_QUICK") == "1"
count, epochs, members = (60, 1, 2) if quick else (2000, 12, 3)
names = {"cat": 3, "dog": 5, "horse": 7, "ship": 8}


# %%
# The pictures of CIFAR-10's first training file: its 1,953 cats and dogs to learn from, those of
# the test file to be asked about. Ships and horses are out-of-distribution, and never trained on.
data = duda.datasets.cifar_10(batches=(1,))


def only(part, *wanted):
    """Return the pictures of some classes, and which of the classes each is."""
    x, y = part
    labels = torch.tensor([names[name] for name in wanted])
    kept = torch.isin(y, labels).nonzero().flatten()[:count]
    return x[kept], (y[kept][:, None] == labels).long().argmax(1)


x, y = only(data.train, "cat", "dog")
x_test, y_test = only(data.test, "cat", "dog")
ood = {"ships": only(data.test, "ship")[0], "horses": only(data.test, "horse")[0]}


def network():
    blocks = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        blocks += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    hidden = nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU(), nn.Dropout(0.3)
    return nn.Sequential(nn.BatchNorm2d(3), *blocks, *hidden, nn.Linear(64, 2))


# %%
# Each picture is also learned in the mirror.
torch.manual_seed(0)
ensemble = duda.DeepEnsemble(network, duda.Categorical(), members)
duq = duda.DUQ(network(), duda.Categorical())
for model in (ensemble, duq):
    both = torch.cat([x, x.flip(3)]), torch.cat([y, y])
    duda.fit(model, both, epochs=epochs, batch_size=64, seed=0)
plain = duda.Deterministic(ensemble.members[0], duda.Categorical())

# What the first network's third block sees, the mean over places, has a distance to both classes.
mahalanobis = duda.detectors.Mahalanobis()
distance = duda.detectors.OnNetwork(plain.network, mahalanobis, "12", positions="mean").fit(x, y)
scores = {
    "softmax confidence": lambda inputs: 1 - plain.predict(inputs).confidence,
    "deep ensemble, entropy": lambda inputs: ensemble.predict(inputs).entropy,
    "DUQ, distance": lambda inputs: duq.predict(inputs).score,
    "Mahalanobis' distance": distance.score,
}

# %%
# Who notices ships, who notices horses?
# --------------------------------------
# Above 0.5 such a picture is doubted more than a cat or a dog; 95 % intervals by the bootstrap.
found, known = {}, {}
for name, score in scores.items():
    known[name] = score(x_test)
    for kind, inputs in ood.items():
        found[name, kind] = duda.evaluation.ood(known[name], score(inputs))
        low, high = found[name, kind].intervals(resamples=200)["auroc"]
        print(f"{name:23} {kind:6}  AUROC {found[name, kind].auroc:.3f} [{low:.3f}, {high:.3f}]")
for name, model in (("softmax", plain), ("ensemble", ensemble), ("DUQ", duq)):
    right = duda.evaluation.accuracy(model.predict(x_test).probs, y_test)
    print(f"{name}: {right:.1%} of cats and dogs told apart")

figure, axes = plt.subplots(4, 2, figsize=(8, 9), layout="constrained")
for ax, ((name, kind), separation) in zip(axes.flat, found.items(), strict=True):
    separation.plot(ax)
    ax.set_title(f"{name}\n{kind}: AUROC {separation.auroc:.2f}", size=10)
    ax.set(xlabel="", ylabel="", yticks=[])
    ax.get_legend().remove()
_ = figure.supxlabel("doubt: blue are cats and dogs, orange are the others, dashed keeps 95 %")

# %%
# The two distances notice some ships, the two spreads of probability hardly any; horses pass for
# all but Mahalanobis' distance: small networks know little, also of what they do not know.
#
# A gate that refuses
# -------------------
# Half of the test pictures of cats and dogs set a threshold that refuses one in ten of them. Its
# doubt is the one that noticed most ships: in earnest, choose it on others.
half = len(x_test) // 2
best = max(scores, key=lambda name: found[name, "ships"].auroc)
gate = duda.Gate.false_alarm(0.1).fit(known[best][:half])
print(f"By {best}. {gate.summary()}")
asked = {"cats and dogs": x_test[half:], **ood}
for kind, inputs in asked.items():
    accepted = gate(scores[best](inputs)).accepted
    print(f"{kind}: {1 - accepted.double().mean():.0%} refused")
    shown = inputs[:10]
    captions = ["accepted" if accepted[i] else "refused" for i in range(len(shown))]
    pictures(shown, captions, title=kind)
