"""Objects as centre points with joints: multi-person pose of CenterNet (Zhou et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from heatpoint.codecs import Maps, MapSpec, Rows, Target, check_values, require
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.encoded import CenterEncoded, Points, at_cells, list_points
from heatpoint.codecs.joint_maps import checked_flip
from heatpoint.codecs.losses import focal_loss, l1_loss
from heatpoint.codecs.moves import moved_joints, placed_peaks
from heatpoint.codecs.peaks import mean_logit, places_of, read_cells, unflipped
from heatpoint.views.fields import Field, Part


@dataclass(frozen=True, eq=False, kw_only=True)
class CenterPoseEncoded(CenterEncoded):
    """The targets of ``CenterPoseCodec`` for a batch.

    Attributes:
        joints: (P, J, 2) float32, x and y of each object's joints in cells.
        labelled: (P, J) bool, which of them are learnt.
        at: The L labelled joints: cells, offsets in [0, 1] and the target of their heatmaps.
        at_image: (L,) int64, their images.
        counts: (5,) float32, number of the heatmap's positive cells, sum of the samples' weights,
            the same times the labelled joints of each, positive cells of the joints' heatmaps, L;
            with ``sides``, (7,), their numbers after the first two.
        left_out: Objects that have no area within the input, and labelled joints outside of it or
            of another class.
    """

    joints: Tensor
    labelled: Tensor
    at: Points
    at_image: Tensor

    def preview(self) -> Tensor:
        """Draws the targets of both heatmaps: (B, C + J, h, w) float32 in [0, 1]."""
        return torch.cat((super().preview(), self.drawn(self.at.blobs, self.joints.shape[1])), 1)

    @property
    def displacement(self) -> Tensor:
        """From the corner of each sample's cell to its object's joints, (S, J, 2) in cells.

        It is 0 where a joint is not learnt.
        """
        at = self.samples
        corner = places_of(at.cell, self.map_size[1])[:, None]
        return (self.joints[at.owner] - corner) * self.labelled[at.owner, :, None]


Unlabelled = Literal["box", "heatmap"]
Mirror = Literal["exact", "negated"]


@dataclass(frozen=True)
class CenterPoseCodec(CenterCodec):
    """Centre points, and for each the way to its joints, which heatmaps of joints then place.

    The defaults are the released CenterNet's for poses, apart from those of ``CenterCodec`` that
    are not, and from ``unlabelled`` and ``mirror``, whose released values ("heatmap" and "negated")
    teach no box to objects without a labelled joint, and average joints that are 3/4 of a cell
    apart.

    Attributes:
        joints: Number of joints J, of all classes.
        flip: Joint whose place each joint takes in a mirror image, an involution of J indices;
            empty if no joint has a left or right counterpart.
        slices: First joint and joint behind the last of each class, where classes have joints of
            their own; empty where all share all joints.
        joint_heatmaps: Whether there are heatmaps of joints that regressed joints move to.
        joint_offset: Whether there is a map of the joints' places in their cells; without, a joint
            that moves is taken to be in the middle of its cell.
        relative: Whether displacements count from the object's centre, in sides of its box, as in
            CenterFace (Xu et al. 2019), instead of from the corner of the centre's cell, in cells.
        displacement_weight: Weight of the joints' L1 loss, in cells, or in sides of the boxes.
        heatmap_bias: That of ``CenterCodec``, with which the joints' heatmaps begin, too.
        joint_heatmap_weight: Weight of the loss of the joints' heatmaps.
        joint_offset_weight: Weight of the L1 loss of the joints' offsets.
        joint_spread: How far off joints are taken to be before they move, in longer sides of the
            object's box: they take the likeliest peak, or, with 0, the nearest one, as released.
        unlabelled: Objects none of whose joints is labelled teach their "box", or the "heatmap"
            alone, as released.
        mirror: A displacement of x cells is 1 - x cells in the mirrored cell ("exact"), or -x
            ("negated", as released, whose mirror of pictures would make it 3/4 - x).
    """

    learns: ClassVar[frozenset[Part]] = frozenset({"boxes", "keypoints"})

    joints: int = field(kw_only=True)
    flip: tuple[int, ...] = ()
    slices: tuple[tuple[int, int], ...] = ()
    joint_heatmaps: bool = True
    joint_offset: bool = True
    relative: bool = False
    displacement_weight: float = 1.0
    joint_heatmap_weight: float = 1.0
    joint_offset_weight: float = 1.0
    joint_spread: float = 0.0
    unlabelled: Unlabelled = "box"
    mirror: Mirror = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = ("displacement", "joint_heatmap", "joint_offset")
        check_values(self, ("joints",), [*(f"{part}_weight" for part in parts), "joint_spread"])
        object.__setattr__(self, "flip", checked_flip(self.flip, self.joints))
        slices = tuple((int(start), int(stop)) for start, stop in self.slices)
        object.__setattr__(self, "slices", slices)
        fine = all(0 <= start <= stop <= self.joints for start, stop in slices)
        rule = f"give each of the {self.classes} classes some of the {self.joints} joints"
        require(fine and len(slices) in (0, self.classes), "slices", rule, slices)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Those of ``CenterCodec``, and up to three of joints.

        Displacement (2J: x and y joint by joint, in cells from the corner of the centre's cell; see
        ``relative``),
        joint heatmap (J logits) and joint offset (x, y in cells, one map for all joints).
        """
        maps = (*super().maps, MapSpec("displacement", 2 * self.joints, per="joint", std=0.001))
        if self.joint_heatmaps:
            maps += (MapSpec("joint_heatmap", self.joints, bias=self.heatmap_bias, per="joint"),)
            maps += (MapSpec("joint_offset", 2, std=0.001),) if self.joint_offset else ()
        return maps

    @property
    def answer(self) -> tuple[Field, ...]:
        """Boxes, scores, labels and keypoints; see ``decode`` for the score of a joint."""
        return (*super().answer, Field("keypoints", (self.joints, 3), "points"))

    @property
    def terms(self) -> tuple[str, ...]:
        """Those of ``CenterCodec``, and the names of the maps of joints."""
        return (*super().terms, *self._joint_maps)

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """First those of ``CenterCodec``; then displacements assign and heatmaps place joints."""
        return {**super().steps, **{name: (name,) for name in self._joint_maps}}

    @property
    def _joint_maps(self) -> tuple[str, ...]:
        """Names of the maps of joints."""
        return tuple(spec.name for spec in self.maps[len(super().maps) :])

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> CenterPoseEncoded:
        """Turns the targets of a batch into lists of cells, on the device of the targets.

        A joint's blob is as wide as that of its object's centre, as released. Joints outside of
        the input and those of other classes are not learnt.

        Args:
            targets: One per image; boxes and keypoints (N, J, 3) in input pixels.
            size: (H, W) of the network's input in pixels, multiples of the stride.

        Raises:
            ValueError: As ``CenterCodec.encode``; or a target has no keypoints, another number of
                objects or joints, or a labelled joint that is no finite number.
        """
        base = super().encode(targets, size)
        image, label = base.objects.image, base.label
        keypoints = self._gathered(targets).to(base.label.device)[base.kept]
        given = keypoints[..., 2] > 0
        end = keypoints.new_tensor((size[1], size[0]))
        points = torch.where(given[..., None], keypoints[..., :2], 0.0)
        labelled = given & ((points >= 0) & (points <= end)).all(-1) & self._owned(label)
        joints = points / self.stride
        owner, joint = labelled.nonzero().unbind(1)
        planes = (base.batch, self.joints)
        radius = base.radius[owner]
        at = list_points(joints[owner, joint], image[owner], joint, radius, planes, base.map_size)
        samples = base.samples
        if self.unlabelled == "heatmap":
            samples = samples.chosen(labelled.any(1)[samples.owner])
        shown = (samples.weight[:, None] * labelled[samples.owner]).sum()
        numbers = torch.full_like(shown, len(at.blobs.peaks)), torch.full_like(shown, len(owner))
        placed = base.counts[2:]
        counts = torch.stack((base.counts[0], samples.weight.sum(), *placed, shown, *numbers))
        left_out = base.left_out + int(given.sum()) - len(owner)
        own = {"samples": samples, "counts": counts, "left_out": left_out}
        return CenterPoseEncoded(
            **(vars(base) | own), joints=joints, labelled=labelled, at=at, at_image=image[owner]
        )

    def _gathered(self, targets: Sequence[Target]) -> Tensor:
        """Returns the keypoints (N, J, 3) float32 of a batch in one list, checked."""
        rows = [torch.zeros(0, self.joints, 3)]
        for index, target in enumerate(targets):
            found = None if target.keypoints is None else tuple(target.keypoints.shape)
            wanted = (len(target.labels), self.joints, 3)
            if target.keypoints is None or found != wanted:
                raise ValueError(
                    f"image {index} of the batch has keypoints of shape {found}, expected {wanted}:"
                    f" {self.joints} joints of each of its {wanted[0]} objects"
                )
            labelled = target.keypoints[target.keypoints[..., 2] != 0]
            if not bool(labelled.isfinite().all()):
                raise ValueError(f"image {index} of the batch has a joint that is no finite number")
            rows.append(target.keypoints.float())
        return torch.cat(rows[1:] or rows)

    def _owned(self, label: Tensor) -> Tensor:
        """Returns which joints objects with some labels (...) have: (..., J) bool."""
        every = torch.arange(self.joints, device=label.device)
        slices = self.slices or ((0, self.joints),) * self.classes
        bounds = torch.tensor(slices, device=label.device)[label]
        return (every >= bounds[..., :1]) & (every < bounds[..., 1:])

    def loss(  # type: ignore[override]  # its own targets, as for every codec
        self, maps: Maps, encoded: CenterPoseEncoded
    ) -> dict[str, Tensor]:
        """Returns the weighted losses of ``CenterCodec`` and those of the joints, of one stack.

        Displacement and joint offset: L1 over labelled joints, divided by the number of their
        coordinates. Joint heatmap: as the centres' (Zhou et al. 2019, section 4.2).

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            Scalars, float32, or float64 where the maps are.
        """
        terms = super().loss(maps, encoded)
        shown, positives, labelled = encoded.counts[-3:].unbind()
        each = 2 if self.normaliser == "coordinates" else 1
        at, cells = encoded.samples, encoded.at.cell
        found = at_cells(maps["displacement"], at.image, at.cell).view(-1, 2)
        weight = (at.weight[:, None] * encoded.labelled[at.owner]).flatten()
        loss = l1_loss(found, self._away(encoded).view(-1, 2), weight, shown * each + 1e-4)
        terms["displacement"] = self.displacement_weight * loss
        if "joint_heatmap" in self._joint_maps:
            scale = self.joint_heatmap_weight / positives.clamp(min=1)
            blobs = encoded.at.blobs.lists
            terms["joint_heatmap"] = focal_loss(maps["joint_heatmap"], *blobs, scale, self.clamp)
        if "joint_offset" in self._joint_maps:
            found = at_cells(maps["joint_offset"], encoded.at_image, cells)
            ones = torch.ones_like(cells, dtype=torch.float32)
            loss = l1_loss(found, encoded.at.offset, ones, labelled * each + 1e-4)
            terms["joint_offset"] = self.joint_offset_weight * loss
        return terms

    def _away(self, encoded: CenterPoseEncoded) -> Tensor:
        """Returns what the displacement map should say at the samples, (S, J, 2)."""
        away, at = encoded.displacement, encoded.samples
        if not self.relative:
            return away
        shown = encoded.labelled[at.owner, :, None]
        return (away - at.offset[:, None]) / at.size[:, None] * shown

    def decode(self, maps: Maps) -> Rows:
        """Reads the K best objects of each image and their joints.

        A joint is where its displacement points, and moves to a near peak of its heatmap; see
        ``moved_joints``. Its score is that of the peak, or its object's where it did not move,
        for then nothing else is known about it. Joints that a class does not have are at the
        object's centre, with a score of 0.

        Args:
            maps: The maps of the last stack.
        """
        rows, cells = self._found(maps)
        boxes, scores = rows["boxes"], rows["scores"]
        away = read_cells(maps["displacement"], cells).float()
        joints = away.reshape(*cells.shape, self.joints, 2)
        if self.relative:
            corners = (boxes / self.stride)[:, :, None]
            first, last = corners[..., :2], corners[..., 2:]
            joints = (first + last) / 2 + joints * (last - first)
        else:
            joints = joints + places_of(cells, maps["heatmap"].shape[-1]).float()[:, :, None]
        heights = scores[..., None].expand(-1, -1, self.joints)
        if self.joint_heatmaps:
            offset = maps["joint_offset"] if self.joint_offset else None
            kept, kernel = self.max_detections, self.peak_kernel
            peaks = placed_peaks(maps["joint_heatmap"], offset, kept, kernel)
            extents = boxes / self.stride
            joints, heights = moved_joints(joints, heights, extents, peaks, self.joint_spread)
        joints = joints * self.stride
        if self.slices:
            own = self._owned(rows["labels"])
            middle = (boxes[..., :2] + boxes[..., 2:]) / 2
            joints = torch.where(own[..., None], joints, middle[:, :, None])
            heights = torch.where(own, heights, 0.0)
        return {**rows, "keypoints": torch.cat((joints, heights[..., None]), -1)}

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image.

        Left and right joints change places; see ``mirror`` for displacements.
        """
        back = super().unflip(maps)
        order = list(self.flip or range(self.joints))
        away = back["displacement"]
        away = away.reshape(away.shape[0], self.joints, 2, *away.shape[2:])[:, order]
        x, y = away.unbind(2)
        x = -x if self.relative or self.mirror == "negated" else 1 - x
        back["displacement"] = torch.stack((x, y), 2).flatten(1, 2)
        if "joint_heatmap" in back:
            back["joint_heatmap"] = back["joint_heatmap"][:, order]
        if "joint_offset" in back:
            back["joint_offset"] = unflipped(maps["joint_offset"])
        return back

    def _merged(self, maps: Maps, other: Maps) -> Maps:
        """Averages the maps of an image and of its mirror image, turned back, as released.

        Both offsets are the image's own.
        """
        merged = super()._merged(maps, other)
        merged["displacement"] = (maps["displacement"] + other["displacement"]) / 2
        if self.joint_heatmaps:
            pair = maps["joint_heatmap"].float(), other["joint_heatmap"].float()
            merged["joint_heatmap"] = mean_logit(*pair)
        return merged

    def ideal(self, encoded: CenterPoseEncoded) -> Maps:  # type: ignore[override]
        """Returns the maps a perfect network would produce; decoding them gives the targets.

        Exact as for ``CenterCodec``, and for labelled joints with a cell of their own, of which an
        image has at most K of one kind. A joint that shares its cell with another one of whatever
        kind moves by less than a cell on each axis, since the offset is the last one's; without
        heatmaps of joints, none does. Where no joint is labelled, displacements are 0.
        """
        maps, at = super().ideal(encoded), encoded.samples
        maps["displacement"] = encoded.map_of(self._away(encoded).flatten(1), at.image, at.cell)
        if self.joint_heatmaps:
            maps["joint_heatmap"] = encoded.logits(encoded.at.blobs, self.joints)
            if self.joint_offset:
                points = encoded.at
                maps["joint_offset"] = encoded.map_of(points.offset, encoded.at_image, points.cell)
        return maps
