import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from scipy.spatial import distance
from sklearn import covariance, neighbors

from duda.datasets.mnist import read_idx
from duda.detectors import (
    FeatureDensity,
    Mahalanobis,
    NearestNeighbors,
    feature_detector,
    features_of,
)
from duda.evaluation import ood

ALL = [Mahalanobis, FeatureDensity, lambda: NearestNeighbors(k=3)]
NAMES = ["Mahalanobis", "FeatureDensity", "NearestNeighbors"]
each_score = pytest.mark.parametrize("make", ALL, ids=NAMES)


@pytest.fixture
def data():
    """Three classes, of different shapes and sizes."""
    generator = np.random.default_rng(0)
    parts = [
        generator.normal(size=(count, 4)) @ generator.normal(size=(4, 4)) + 3 * shift
        for count, shift in ((30, 0), (50, 1), (40, -1))
    ]
    return np.concatenate(parts), np.repeat([2, 5, 7], [30, 50, 40])


@pytest.fixture
def query():
    return np.random.default_rng(1).normal(scale=5, size=(25, 4))


def residuals(features, y):
    return np.concatenate([features[y == c] - features[y == c].mean(0) for c in np.unique(y)])


def test_mahalanobis_of_scipy(data, query):
    features, y = data
    tied = residuals(features, y)
    means = np.stack([features[y == c].mean(0) for c in np.unique(y)])
    for shrinkage, matrix in (
        (0, tied.T @ tied / len(tied)),
        (0.3, covariance.shrunk_covariance(tied.T @ tied / len(tied), 0.3)),
        ("ledoit-wolf", covariance.ledoit_wolf(tied, assume_centered=True)[0]),
    ):
        found = Mahalanobis(shrinkage=shrinkage).fit(features, y)(query)
        inverse = np.linalg.inv(matrix)
        expected = distance.cdist(query, means, "mahalanobis", VI=inverse).min(1) ** 2
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_mahalanobis_does_not_depend_on_the_basis(data, query):
    features, y = data
    change = np.random.default_rng(2).normal(size=(4, 4))
    plain = Mahalanobis(shrinkage=0).fit(features, y)(query)
    changed = Mahalanobis(shrinkage=0).fit(features @ change + 1e4, y)(query @ change + 1e4)
    np.testing.assert_allclose(changed, plain, rtol=1e-6)


def test_density_of_scipy(data, query):
    features, y = data
    logs = []
    for c in np.unique(y):
        rows = features[y == c]
        law = stats.multivariate_normal(rows.mean(0), np.cov(rows.T, bias=True))
        logs.append(law.logpdf(query) + math.log(len(rows) / len(features)))
    found = FeatureDensity(shrinkage=0).fit(features, y)(query)
    np.testing.assert_allclose(found, -special.logsumexp(logs, axis=0), rtol=1e-9)


def test_density_far_away_stays_finite(data):
    score = FeatureDensity().fit(*data)
    far = score(np.full((1, 4), 1e6))
    assert far.isfinite()
    assert far > 1e9


def test_density_shrinks_each_class(data, query):
    features, y = data
    one = y == 5
    found = FeatureDensity().fit(features[one], y[one])(query)
    rows = features[one] - features[one].mean(0)
    matrix, _ = covariance.ledoit_wolf(rows, assume_centered=True)
    law = stats.multivariate_normal(features[one].mean(0), matrix)
    np.testing.assert_allclose(found, -law.logpdf(query), rtol=1e-9)


def test_neighbours_of_scikit_learn(data, query):
    features, _ = data

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    for k in (1, 7, 120):
        peer = neighbors.NearestNeighbors(n_neighbors=k).fit(unit(features))
        expected = peer.kneighbors(unit(query))[0][:, -1]
        found = NearestNeighbors(k=k).fit(features)(query)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_neighbours_see_no_length(data, query):
    score = NearestNeighbors(k=3).fit(data[0])
    for factor in (1e3, 1e-20):
        torch.testing.assert_close(score(query), score(factor * query))


def test_a_row_of_zeros_is_one_away():
    score = NearestNeighbors(k=1).fit([[1.0, 0.0], [0.0, 5.0]])
    assert score([[0.0, 0.0]]).tolist() == [1.0]


def test_an_example_is_its_own_first_neighbour(data):
    features, _ = data
    assert NearestNeighbors(k=1).fit(features)(features).tolist() == [0.0] * 120


@each_score
def test_the_order_of_examples_means_nothing(make, data, query):
    features, y = data
    order = np.random.default_rng(3).permutation(len(y))
    one, other = make().fit(features, y), make().fit(features[order], y[order])
    torch.testing.assert_close(one(query), other(query))


@each_score
def test_chunks_are_the_whole(make, data, query, monkeypatch):
    score = make().fit(*data)
    whole = score(query)
    monkeypatch.setattr(feature_detector, "_ENTRIES", 250)
    torch.testing.assert_close(score(query), whole)


def test_memory_does_not_grow_with_pairs(monkeypatch):
    score = NearestNeighbors(k=1).fit(torch.randn(500, 3))
    sizes = []
    addmm = torch.addmm

    def noting(*arguments, **options):
        product = addmm(*arguments, **options)
        sizes.append(product.numel())
        return product

    monkeypatch.setattr(torch, "addmm", noting)
    monkeypatch.setattr(feature_detector, "_ENTRIES", 10_000)
    score(torch.randn(1000, 3))
    assert sum(sizes) == 500 * 1000
    assert max(sizes) <= 10_000


@each_score
def test_kinds_of_input(make, data, query):
    features, y = data
    expected = make().fit(features, y)(query)
    assert expected.dtype == torch.float64
    assert expected.shape == (25,)
    as_lists = make().fit(features.tolist(), y.tolist())(query.tolist())
    torch.testing.assert_close(as_lists, expected)
    tensors = torch.from_numpy(features).float().requires_grad_(), torch.from_numpy(y)
    found = make().fit(*tensors)(torch.from_numpy(query).float())
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@each_score
def test_what_is_far_is_out_of_distribution(make, data):
    features, y = data
    score = make().fit(features[::2], y[::2])
    other = np.random.default_rng(4).normal(size=(50, 4)) * [1, 40, 1, 1]
    assert ood(score(features[1::2]), score(other)).auroc > 0.75


@each_score
def test_fitted_again(make, data, query):
    features, y = data
    score = make().fit(-features, y)
    torch.testing.assert_close(score.fit(features, y)(query), make().fit(features, y)(query))


@each_score
@pytest.mark.parametrize(
    ("features", "y", "message"),
    [
        ([[0.0, math.nan]] * 4, [0, 0, 1, 1], "`features` has 4 NaN"),
        ([[0.0, math.inf]] * 4, [0, 0, 1, 1], "4 infinite"),
        (np.zeros((0, 2)), [], "`features` .* is empty"),
        ([1.0, 2.0], [0, 1], r"expected \(N, D\)"),
        (np.zeros((4, 2, 3)), [0] * 4, r"expected \(N, D\): average or flatten"),
        ([[0.0, 1.0]] * 4, [0, 0, 1], r"`y` has shape \(3,\), expected \(4,\)"),
        ([[0.0, 1.0]] * 4, [0.0, 0.0, 1.0, 1.0], "expected integer labels"),
        ([[0.0, 1.0]] * 4, [0, 0, -1, -1], "label -1"),
    ],
)
def test_bad_fit(make, features, y, message):
    with pytest.raises(ValueError, match=message):
        make().fit(features, y)


@each_score
def test_bad_call(make, data):
    with pytest.raises(ValueError, match="is not fitted: call its `fit` first"):
        make()(data[0])
    score = make().fit(*data)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(N, 4\)"):
        score(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`features` has 1 NaN"):
        score([[0.0, 1.0, 2.0, math.nan]])


@pytest.mark.parametrize("make", [Mahalanobis, FeatureDensity])
def test_classes_too_small(make, data):
    features, y = data
    with pytest.raises(ValueError, match="1 example of class 9, expected at least 2"):
        make().fit(features, np.append(y[:-1], 9))
    with pytest.raises(TypeError, match="`y` is missing"):
        make().fit(features)
    with pytest.raises(ValueError, match="`shrinkage` is 2"):
        make(shrinkage=2)


def test_singular_covariances(data):
    features, y = data
    twice = np.concatenate([features, features[:, :1]], axis=1)
    with pytest.raises(ValueError, match="singular covariance within classes"):
        Mahalanobis(shrinkage=0).fit(twice, y)
    # class 2 alone is flat
    flat = np.where((y == 2)[:, None], features * [1, 1, 1, 0], features)
    Mahalanobis(shrinkage=0).fit(flat, y)
    with pytest.raises(ValueError, match="singular covariance in class 2"):
        FeatureDensity(shrinkage=0).fit(flat, y)
    assert FeatureDensity().fit(flat, y)(flat).isfinite().all()


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_bad_k(k):
    with pytest.raises(ValueError, match="`k` is"):
        NearestNeighbors(k=k)


def test_too_few_neighbours():
    with pytest.raises(ValueError, match="has 2 examples, expected at least `k` = 3"):
        NearestNeighbors(k=3).fit([[1.0, 0.0], [0.0, 1.0]])


@pytest.fixture(scope="module")
def digits(real_data):
    """Features of a small network after an epoch of digits: training, test, and of clothes."""

    def pictures(name, part, count):
        pixels = read_idx(real_data / name / f"{part}-images-idx3-ubyte.gz")[:count]
        labels = read_idx(real_data / name / f"{part}-labels-idx1-ubyte.gz")[:count]
        return pixels.unsqueeze(1) / 255, labels.long()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 5, stride=2),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, 3, stride=2),
            torch.nn.ReLU(inplace=True),
            torch.nn.Flatten(),
            torch.nn.Linear(32 * 25, 10),
        )
        x, y = pictures("mnist", "train", 4000)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
    sets = x, pictures("mnist", "t10k", 1000)[0], pictures("fashion-mnist", "t10k", 1000)[0]
    return y, *(features_of(network, each, "3", positions="mean") for each in sets)


@each_score
def test_clothes_are_no_digits(make, digits):
    y, train, known, other = digits
    score = make().fit(train, y)
    assert ood(score(known), score(other)).auroc > 0.95
