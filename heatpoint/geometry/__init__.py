"""Frames, boxes and the maps between them; no torch."""
