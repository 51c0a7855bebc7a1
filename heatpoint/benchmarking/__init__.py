"""Times a model from a picture on disk to results, engine by engine and stage by stage.

Each contender is a process of its own, so this package imports nothing: a process loads what its
engine needs and no more.
"""
