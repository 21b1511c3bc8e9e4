"""Boxes, object detection: detections of several members merged, scored and bounded.

Boxes are (left, top, right, bottom) in one unit, such as pixels. A picture is one `BoxPrediction`,
and several are a list of these; what is true of a picture is its boxes and their labels.
"""

from duda.boxes.average_precision import COCO, AveragePrecision, average_precision
from duda.boxes.calibration import DetectionCalibration, detection_calibration
from duda.boxes.conformal import BoxBounds, ConformalBoxes
from duda.boxes.errors import KINDS, DetectionErrors, detection_errors
from duda.boxes.geometry import iou
from duda.boxes.merging import merge
from duda.boxes.quality import DetectionQuality, detection_quality
from duda.predictions.boxes import BoxPrediction

__all__ = [
    "COCO",
    "KINDS",
    "AveragePrecision",
    "BoxBounds",
    "BoxPrediction",
    "ConformalBoxes",
    "DetectionCalibration",
    "DetectionErrors",
    "DetectionQuality",
    "average_precision",
    "detection_calibration",
    "detection_errors",
    "detection_quality",
    "iou",
    "merge",
]
