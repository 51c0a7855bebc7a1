"""Views: which pixels of a picture are looked at, and how what is found there becomes one answer.

A view owns frames and merging, nothing else: it knows no labels and has no parameters. ``picture``
looks at the whole, ``crops`` at boxes, ``tiles`` at overlapping parts of large pictures.
"""
