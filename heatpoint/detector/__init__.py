"""Detectors: a network, a codec, names; and the file that holds them."""
