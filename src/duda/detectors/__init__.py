"""Out-of-distribution detectors: fitted to in-distribution features or logits, they score inputs.

`Mahalanobis().fit(features, y).score(other_features)` where features are at hand,
`OnNetwork(network, Mahalanobis()).fit((x, y)).score(other_x)` where they come from a network.
"""

from duda.detectors.base import Detector as Detector
from duda.detectors.energy import Energy as Energy
from duda.detectors.energy import energy as energy
from duda.detectors.feature_density import FeatureDensity as FeatureDensity
from duda.detectors.feature_detector import FeatureDetector as FeatureDetector
from duda.detectors.features import features_of as features_of
from duda.detectors.features import logits_of as logits_of
from duda.detectors.logit_detector import LogitDetector as LogitDetector
from duda.detectors.mahalanobis import Mahalanobis as Mahalanobis
from duda.detectors.max_logit import MaxLogit as MaxLogit
from duda.detectors.max_logit import max_logit as max_logit
from duda.detectors.nearest_neighbors import NearestNeighbors as NearestNeighbors
from duda.detectors.on_network import OnNetwork as OnNetwork
from duda.registry import registered

DETECTORS = registered(__name__, Detector)
