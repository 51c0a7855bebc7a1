"""Prediction on many machines: the same rows as on one, part by part, by Ray Data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from heatpoint.inference import KeepOptions, ReadOptions, RunOptions
from heatpoint.options import Address, Checkpoint, Folder, Name, Pictures


@dataclass
class ClusterOptions:
    """How pictures are divided among the machines of a cluster."""

    CLUSTER: ClassVar[str] = "very many pictures, on a cluster of Ray"

    out: Folder | Path = "found"
    """folder for the results; a run that was stopped goes on where its parts are missing"""

    column: Name = ""
    """parquet: the column of the pictures; by default the only one of bytes"""

    actors: int | None = None
    """processes that hold the model, each once; as many as there is room for by default"""

    cores: int = 1
    """processor cores of each"""

    gpus: float = 0.0
    """GPUs of each; 0.5 puts two on one"""

    part: int = 512
    """pictures per part, the least that is done again; a parquet or tar file is one part"""


@dataclass
class ScaleOptions:
    """Finds what a model was trained to find in very many pictures, on a cluster of Ray."""

    model: Checkpoint | Path
    """a .onnx or .xml file of export, a checkpoint of train or convert, or the name of fetched
    weights; workers get it from here"""

    images: list[Pictures] | Pictures | Path
    """picture files, folders and patterns, s3:// and gs:// folders, .parquet files of encoded
    pictures, .tar files of pictures (WebDataset), or folders of either"""

    recursive: bool = False
    """look into the folders of a folder, too"""

    detector: Checkpoint | Path | None = None
    """of a model of joints: a model of boxes that finds where to look"""

    address: Address = "local"
    """local starts a cluster on this machine; auto takes the one that runs here; or HOST:PORT"""

    cluster: ClusterOptions = field(default_factory=ClusterOptions)

    keep: KeepOptions = field(default_factory=KeepOptions)

    run: RunOptions = field(default_factory=RunOptions)

    read: ReadOptions = field(default_factory=ReadOptions)
