"""Scores of detections against annotations: COCO's and Pascal VOC's."""
