"""Readers of annotations: one file per format."""
