"""Maps of pictures, segmentation and depth: large ones predicted by tiles, objects in them, plots.

A map has a number for each pixel: a label, an entropy, a depth.
"""

from duda.maps.objects import Objects, objects
from duda.maps.shown import panels
from duda.maps.tiled import predict

__all__ = ["Objects", "objects", "panels", "predict"]
