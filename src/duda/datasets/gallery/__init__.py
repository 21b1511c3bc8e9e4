"""Data sets that serve one script of the gallery each: boxes, laser scans, votes on faces."""

from duda.datasets.gallery.ferplus import ferplus
from duda.datasets.gallery.range_image import RangeView, turned_scan
from duda.datasets.gallery.semantickitti import SemanticKITTI
from duda.datasets.gallery.voc import voc

__all__ = ["RangeView", "SemanticKITTI", "ferplus", "turned_scan", "voc"]
