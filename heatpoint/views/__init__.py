"""Joints of subjects: results, prediction, evaluation and drawing, as their namesakes for boxes."""
