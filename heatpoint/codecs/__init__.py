"""Codecs: what maps should say about objects, how wrong they are, and what they mean."""
