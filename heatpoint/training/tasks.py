"""What training must know about a representation, and the loop does not: boxes or joints.

Loop, schedule, resuming and the files of a run are the same for both; ``boxes`` and ``pose`` hold
what differs. The name of the model, or the checkpoint to start from, decides which one a run is.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, Protocol

import torch

from heatpoint import zoo
from heatpoint.codecs.types import Target
from heatpoint.data.annotations import Annotations
from heatpoint.data.dataset import Sample
from heatpoint.detector.detector import Detector, task_of_file
from heatpoint.errors import HeatpointError
from heatpoint.training.options import TrainOptions
from heatpoint.training.state import Row


class Samples(Protocol):
    """A training set: samples by (epoch, index), a function of (seed, epoch, index) alone."""

    def __len__(self) -> int:
        """Returns the number of samples in an epoch."""

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        """Returns one random view."""


class Task(Protocol):
    """The answers of one representation; an implementation has no state, so it can be pickled."""

    @property
    def scores(self) -> tuple[str, ...]:
        """Columns of log.csv that a validation fills; the first decides which weights are best."""

    @property
    def stacks(self) -> Literal["mean", "sum"]:
        """How the losses of a network's stacks become one, as published for its kind."""

    @property
    def codec_options(self) -> tuple[str, ...]:
        """Options that replace the model's own value in its codec where the user gave one."""

    @property
    def foreign_options(self) -> tuple[str, ...]:
        """Options that only another kind of model understands."""

    @property
    def finds(self) -> str:
        """What the model finds, for sentences: "boxes" or "joints"."""

    def adopt(self, annotations: Annotations, options: TrainOptions) -> Annotations:
        """Returns data that was just read as this kind of model understands it.

        Raises:
            HeatpointError: The data lacks what is to be learnt.
        """

    def check_pair(self, train: Annotations, val: Annotations) -> None:
        """Makes sure that training and validation data are about the same things.

        Raises:
            HeatpointError: They are not; lists the differences.
        """

    def is_empty(self, annotations: Annotations) -> bool:
        """Tells whether there is nothing to learn from or to score."""

    def content(self, annotations: Annotations) -> str:
        """Returns what cleaned data holds, in words."""

    def build(self, options: TrainOptions, train: Annotations) -> Detector:
        """Returns an untrained detector for the data."""

    def adapt(self, detector: Detector, train: Annotations) -> list[str]:
        """Fits a trained detector to the data and returns what starts afresh."""

    def samples(
        self, options: TrainOptions, train: Annotations, detector: Detector
    ) -> tuple[Samples, list[str]]:
        """Returns the training set at the detector's size, and the picture of each sample."""

    def nothing(self, detector: Detector) -> Target:
        """Returns the target of a sample in which there is nothing to learn."""

    def validate(
        self, detector: Detector, val: Annotations, size: tuple[int, int], device: torch.device
    ) -> Row:
        """Returns ``scores``, each in [0, 1], by the call that users have."""

    def draw(
        self,
        path: Path,
        detector: Detector,
        shown: Annotations,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        """Draws the truth beside the predictions for a few images spread over the data."""


def task_of(options: TrainOptions) -> Task:
    """Returns the task of a run, after making sure that its options belong to it.

    Raises:
        HeatpointError: No such model, an unreadable checkpoint, or an option of the other kind.
    """
    if options.weights:
        pose = task_of_file(options.weights) == "pose"
    else:
        pose = zoo.is_pose(options.model)
    task: Task
    if pose:
        from heatpoint.training.pose import PoseTask

        task = PoseTask()
    else:
        from heatpoint.training.boxes import BoxTask

        task = BoxTask()
    defaults = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
    for name in task.foreign_options:
        if getattr(options, name) != defaults[name]:
            other = "boxes" if pose else "joints"
            raise HeatpointError(
                f"{name} is an option of models that find {other}, but "
                f"{options.weights or options.model} finds {task.finds}; leave it out or choose "
                "another model (heatpoint models lists them)"
            )
    return task
