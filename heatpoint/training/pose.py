"""Training to find the joints of one subject in a crop, scored by PCK."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from heatpoint import zoo
from heatpoint.codecs.types import Target
from heatpoint.data.annotations import Annotations
from heatpoint.data.images import load_image
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.skeleton import Skeleton, skeleton_of
from heatpoint.data.subjects import CropTrainSet, Subjects, subject_name
from heatpoint.detector.detector import Detector
from heatpoint.engines.torch import TorchEngine
from heatpoint.errors import HeatpointError
from heatpoint.geometry.crops import PADDING
from heatpoint.inference.draw_poses import annotated_poses, draw_poses
from heatpoint.inference.pose_runner import PoseRunner
from heatpoint.scoring.evaluate_pose import evaluate_pose
from heatpoint.scoring.poses import scored
from heatpoint.training.options import BOX_OPTIONS, TrainOptions
from heatpoint.training.pictures import spread, write_rows
from heatpoint.training.state import Row
from heatpoint.views.subjects import subjects

AUGMENTS = {
    "published": PoseAugment.published,
    "mild": PoseAugment.mild,
    "none": PoseAugment.none,
}


@dataclass(frozen=True)
class PoseTask:
    """See ``tasks.Task`` for what each part is."""

    scores: tuple[str, ...] = ("pck@0.1", "pck@0.05", "pck@0.2")
    stacks: Literal["mean", "sum"] = "sum"  # as in every released Stacked Hourglass
    codec_options: tuple[str, ...] = ()
    foreign_options: tuple[str, ...] = BOX_OPTIONS
    finds: str = "joints"

    def adopt(self, annotations: Annotations, options: TrainOptions) -> Annotations:
        """Returns the data with the skeleton it is to be read with.

        Raises:
            HeatpointError: It has no joints, or not as many as the skeleton of the options.
        """
        number = joints_of(annotations)
        if number is None:
            raise HeatpointError(
                f"{annotations.source} has no joints, which a model of joints learns from; give "
                "COCO keypoints or another format that docs/pose.md lists, or choose a model that "
                "finds boxes (heatpoint models lists them)"
            )
        skeleton = skeleton_of(options.skeleton) if options.skeleton else annotations.skeleton
        if skeleton is None:
            raise HeatpointError(
                f"{annotations.source} does not name its {number} joints; name them with skeleton: "
                "coco17, mpii16, lsp14, flic11 or a JSON file"
            )
        if len(skeleton.joints) != number:
            raise HeatpointError(
                f"skeleton {options.skeleton} has {len(skeleton.joints)} joints, but every subject "
                f"of {annotations.source} has {number}; name the skeleton the data was labelled "
                "with, or leave skeleton out where the data names its joints"
            )
        return replace(annotations, skeleton=skeleton)

    def check_pair(self, train: Annotations, val: Annotations) -> None:
        """Makes sure that both have the same joints, in whatever order.

        Raises:
            HeatpointError: They do not; lists the differences.
        """
        one, other = skeleton_in(train).joints, skeleton_in(val).joints
        missing = [name for name in one if name not in other]
        extra = [name for name in other if name not in one]
        if missing or extra:
            phrases = [f"only in {train.source}: {', '.join(missing)}"] if missing else []
            phrases += [f"only in {val.source}: {', '.join(extra)}"] if extra else []
            raise HeatpointError(
                f"training and validation data have different joints; {'; '.join(phrases)}; label "
                "the same joints in both, or name those of both with skeleton"
            )

    def is_empty(self, annotations: Annotations) -> bool:
        """Tells whether no object has a labelled joint."""
        return not len(Subjects(annotations))

    def content(self, annotations: Annotations) -> str:
        """Returns the number of subjects and of labelled joints, and what is left out."""
        found = Subjects(annotations)
        joints = sum(int((found[i][2][:, 2] > 0).sum()) for i in range(len(found)))
        rest = ", ".join(f"{count:,} {why}" for why, count in found.left_out.items() if count)
        return (
            f"{len(found):,} subjects of {len(found.skeleton)} joints, {joints:,} of them labelled"
            + ("" if skeleton_in(annotations).pairs else ", no left and right pairs to mirror")
            + (f"; objects left out: {rest}" if rest else "")
        )

    def build(self, options: TrainOptions, train: Annotations) -> Detector:
        """Returns an untrained detector of the data's joints."""
        return zoo.build(
            options.model,
            [subject_name(train)],
            options.backbone_weights or None,
            options.pretrained,
            skeleton=train.skeleton,
        )

    def adapt(self, detector: Detector, train: Annotations) -> list[str]:
        """Gives the detector the data's joints; those it knows by name keep what it learnt."""
        detector.names = (subject_name(train),)
        return detector.adapt_skeleton(skeleton_in(train))

    def samples(
        self, options: TrainOptions, train: Annotations, detector: Detector
    ) -> tuple[CropTrainSet, list[str]]:
        """Returns crops of the subjects, one per epoch and subject."""
        augment = AUGMENTS[options.augment]()
        own = augment.flip if skeleton_in(train).pairs else 0.0
        augment = replace(augment, flip=own if options.flip is None else options.flip)
        if options.rotate is not None:
            augment = replace(augment, rotation=options.rotate)
        if options.half_body is not None:
            augment = replace(augment, half_body=options.half_body)
        if options.padding is not None:
            detector.meta["padding"] = options.padding
        padding = float(detector.meta.get("padding", PADDING))
        detector.meta["padding"] = padding
        cache = round(options.cache * 2**30)
        crops = CropTrainSet(train, detector.size, augment, options.seed, cache, padding=padding)
        return crops, [str(train.images[image].path) for image, _ in crops.subjects]

    def nothing(self, detector: Detector) -> Target:
        """Returns the target of a subject without a labelled joint."""
        joints = detector.joint_codec.joints
        return Target(
            torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), torch.zeros(1, joints, 3)
        )

    def validate(
        self, detector: Detector, val: Annotations, size: tuple[int, int], device: torch.device
    ) -> Row:
        """Returns PCK at 0.1, 0.05 and 0.2 of the extent as ``evaluate_pose`` gives them."""
        metrics = evaluate_pose(detector, val, size=size, device=device)
        found = metrics.scores
        return {name: None if math.isnan(found[name]) else found[name] for name in self.scores}

    def draw(
        self,
        path: Path,
        detector: Detector,
        shown: Annotations,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        """Draws skeletons of truth and prediction."""
        records = spread(shown, lambda record: int(scored(record).sum()))
        runner = PoseRunner(TorchEngine(detector, device=device), size=size)
        pairs = []
        for record in records:
            image, wanted = load_image(record.path), record.keep(scored(record))
            found = runner([image], [subjects(wanted.boxes, str(record.path))])[0]
            truth = annotated_poses(wanted, skeleton_in(shown), found.name)
            pairs.append((draw_poses(image, truth), draw_poses(image, found)))
        write_rows(path, pairs)


def skeleton_in(annotations: Annotations) -> Skeleton:
    """Returns the skeleton of data that was adopted."""
    assert annotations.skeleton is not None, f"{annotations.source} has no skeleton"
    return annotations.skeleton


def joints_of(annotations: Annotations) -> int | None:
    """Returns the number of joints of a subject; None if the data has none."""
    for record in annotations.images:
        if record.keypoints is not None:
            return int(record.keypoints.shape[1])
    return None
