"""The joints of one subject as one heatmap each: Stacked Hourglass (Newell et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from heatpoint.codecs import Codec, Maps, MapSpec, Rows, Target, check_size, check_values, require
from heatpoint.codecs.joint_maps import (
    BlobRule,
    JointEncoded,
    Refine,
    checked_flip,
    joint_peaks,
    touches,
)
from heatpoint.codecs.losses import blob_loss
from heatpoint.views import View
from heatpoint.views.fields import SCORES, Field, Part
from heatpoint.views.pictures import Crops

Align = Literal["center", "index"]
Border = Literal["inside", "window"]
Normaliser = Literal["blob", "bearpaw", "mmpose", "princeton"]
FlipMerge = Literal["mean", "clipped", "shifted"]

SEEN = 0.2
"""Height of a peak above which a joint counts towards the score of its subject."""


@dataclass(frozen=True)
class JointCodec(Codec):
    """One heatmap per joint of one subject; linear values, no sigmoid.

    The defaults are free of bias: a perfect network's joints are decoded exactly. The released
    programs' ways have names: bearpaw's are target "rounded", border "window", normaliser
    "bearpaw", train_hidden off and refine "quarter"; princeton's are target "princeton", border
    "window", normaliser "princeton", refine "quarter-princeton" and flip_merge "clipped";
    mmpose's are target "rounded" and sigma 2, align "index", border "window", normaliser
    "mmpose", refine "quarter-mmpose" and flip_merge "shifted". The original in Torch 7 draws and
    decodes as bearpaw and has the loss of princeton, summed over stacks where princeton averages.

    Attributes:
        joints: Number of joints J.
        flip: Joint whose place each joint takes in a mirror image, an involution of J indices;
            empty if no joint has a left or right counterpart.
        stride: Input pixels per cell.
        sigma: Width of the blobs in cells.
        target: Where blobs are drawn and how far they reach; see ``draw_joints``.
        align: Cell i stands for the input x of its "center", (i + 0.5) stride, or of its "index",
            i stride + 0.5, which is the pixel i stride: mmpose's way, half a cell off less half a
            pixel, in targets and decoding alike.
        border: Which labelled joints are trained: those "inside" of the input, or those whose
            blob's "window" touches the map, as published.
        train_hidden: Whether joints that are labelled but hidden are trained. bearpaw leaves them
            out.
        normaliser: The sum of squared differences over cells is divided by the energy of a blob,
            pi sigma^2, and the number of trained joints ("blob": silence costs 1, whatever the
            size of the map), or by the number of cells and of all joints of the batch ("mmpose");
            "bearpaw" halves that; "princeton" lets joints that are not trained ask for empty maps.
        refine: How decoding goes below the cell; see ``joint_peaks``.
        flip_merge: Maps of an image and of its mirror image become their "mean" (bearpaw's sum
            has the same joints and twice the scores), their mean "clipped" at 1 (princeton), or
            their mean after the latter was "shifted" right by one cell (mmpose). The first two are
            for align "center". With "index" they move joints by (stride - 1) / 2 pixels, and
            "shifted" by half a pixel; with "center" that moves them by half a cell.
    """

    learns: ClassVar[frozenset[Part]] = frozenset({"keypoints"})
    view: ClassVar[type[View]] = Crops
    place: ClassVar[str] = "joint"

    joints: int
    flip: tuple[int, ...] = ()
    stride: int = 4
    sigma: float = 1.0
    target: BlobRule = "exact"
    align: Align = "center"
    border: Border = "inside"
    train_hidden: bool = True
    normaliser: Normaliser = "blob"
    refine: Refine = "taylor"
    flip_merge: FlipMerge = "mean"

    def __post_init__(self) -> None:
        check_values(self, whole=("joints", "stride"))
        require(0 < self.sigma < math.inf, "sigma", "be above 0", self.sigma)
        object.__setattr__(self, "flip", checked_flip(self.flip, self.joints))

    @property
    def stacks(self) -> Literal["mean", "sum"]:
        """The sum, as in the released Stacked Hourglasses; princeton's alone takes the mean."""
        return "mean" if self.normaliser == "princeton" else "sum"

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """One map, "joints", of J channels."""
        return (MapSpec("joints", self.joints, per="joint", std=0.001),)

    @property
    def answer(self) -> tuple[Field, ...]:
        """One subject per look: the place and height of every joint's peak, and the score.

        Heights of linear maps may exceed 1 or stay below 0.
        """
        return (Field("keypoints", (self.joints, 3), "points"), SCORES)

    @property
    def terms(self) -> tuple[str, ...]:
        """The one term, ``joints``."""
        return ("joints",)

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> JointEncoded:
        """Turns the joints of a batch of subjects into positions, on the targets' device.

        Args:
            targets: One subject each; keypoints (1, J, 3) in input pixels.
            size: (H, W) of the network's input in pixels, multiples of the stride.

        Raises:
            ValueError: A target has no keypoints, more than one subject, another number of joints
                or one that is no finite number; or the size is no multiple of the stride.
        """
        map_size = check_size(size, self.stride)
        expected = (1, self.joints, 3)
        rows = []
        for index, target in enumerate(targets):
            found = None if target.keypoints is None else tuple(target.keypoints.shape)
            if target.keypoints is None or found != expected:
                raise ValueError(
                    f"subject {index} of the batch has keypoints of shape {found}, expected "
                    f"{expected}: one subject with {self.joints} joints"
                )
            rows.append(target.keypoints)
        keypoints = torch.cat(rows) if rows else torch.zeros(0, self.joints, 3)
        finite = keypoints.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            raise ValueError(
                f"subject {int((~finite).nonzero()[0])} of the batch has a joint that is no "
                "finite number"
            )
        points = keypoints[..., :2].float()
        position = points / self.stride - self._origin
        visibility = keypoints[..., 2].long()
        if self.border == "window":
            near = touches(position, self.sigma, map_size, self.target)
        else:
            end = points.new_tensor((size[1], size[0]))
            near = ((points >= 0) & (points <= end)).all(-1)
        drawn = (visibility > 0) & near
        trained = drawn if self.train_hidden else drawn & (visibility > 1)
        weight = trained.float()
        return JointEncoded(
            map_size=map_size,
            counts=torch.stack((weight.sum(), torch.ones_like(weight).sum())),
            left_out=int(((visibility > 0) & ~trained).sum()),
            position=position,
            visibility=visibility,
            drawn=drawn,
            weight=weight,
            sigma=self.sigma,
            rule=self.target,
        )

    @property
    def _origin(self) -> float:
        """Where in its cell the point is that a cell stands for, from 0 to 1."""
        return 0.5 if self.align == "center" else 0.5 / self.stride

    def loss(self, maps: Maps, encoded: JointEncoded) -> dict[str, Tensor]:
        """Returns the masked mean-squared error "joints" of one stack.

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            A scalar, float32, or float64 where the maps are; 0 without any trained joint, unless
            these ask for empty maps.
        """
        weight = encoded.weight
        trained, every = encoded.counts.clamp(min=1).unbind()
        cells = float(encoded.map_size[0] * encoded.map_size[1])
        if self.normaliser == "blob":
            divisor = trained * (math.pi * self.sigma**2)
        else:
            divisor = every * (cells * (2 if self.normaliser == "bearpaw" else 1))
        if self.normaliser == "princeton":
            weight = torch.ones_like(weight)
        return {"joints": blob_loss(maps["joints"], encoded.preview(), weight, divisor)}

    def decode(self, maps: Maps) -> Rows:
        """Reads the best place of every joint, and how sure it is that there is a subject.

        The score is the mean of the heights above ``SEEN``, clipped to 1: the rescoring of Simple
        Baselines (Xiao et al. 2018, released code), where it is times that of the subject's box.

        Args:
            maps: The maps of the last stack.
        """
        place, height = joint_peaks(maps["joints"], self.refine, self.sigma)
        points = torch.cat(((place + self._origin) * self.stride, height[..., None]), -1)
        seen = (height > SEEN).to(height.dtype)
        score = (height.clamp(0, 1) * seen).sum(-1) / seen.sum(-1).clamp(min=1)
        return {"keypoints": points[:, None], "scores": score[:, None]}

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image.

        Left and right joints change places. With flip_merge "shifted", the result is moved right
        by one cell, the first column staying behind.
        """
        values = maps["joints"].flip(-1)
        if self.flip:
            values = values[:, list(self.flip)]
        if self.flip_merge == "shifted":
            values = torch.cat((values[..., :1], values[..., :-1]), -1)
        return {"joints": values}

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Merges the maps of an image and of its mirror image; see ``flip_merge``.

        Args:
            maps: Maps of the image.
            mirrored: Maps of the mirrored image, not yet turned back.
        """
        merged = (maps["joints"] + self.unflip(mirrored)["joints"]) / 2
        return {"joints": merged.clamp(max=1.0) if self.flip_merge == "clipped" else merged}

    def ideal(self, encoded: JointEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the joints.

        To 1e-3 pixels for target "exact" or "udp", refine "taylor" and a sigma of at least half
        a cell. With target "rounded", "cauchy" or "princeton" a joint is off by up to half a cell
        on each axis, whatever the refinement. Maps of joints that are not trained are 0 (of
        hidden ones a blob is drawn in any case) and decode to the first cell.

        Returns:
            (B, J, h, w) float32.
        """
        return {"joints": encoded.preview()}
