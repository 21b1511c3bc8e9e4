import numpy as np
import pytest


@pytest.fixture(scope="session")
def cifar(real_data):
    """A wide ResNet's probabilities for the test batch, and the batch's own labels."""
    probs = np.load(real_data / "predictions" / "wideresnet-16-4_cifar-10.npz")["probs"]
    rows = np.fromfile(real_data / "cifar-10-batches-bin" / "test_batch.bin", dtype=np.uint8)
    return probs, rows.reshape(10_000, 1 + 3 * 32 * 32)[:, 0]


@pytest.fixture(scope="session")
def imdb(real_data):
    stored = np.load(real_data / "predictions" / "imdb.npz")
    return stored["probs"], stored["labels"]
