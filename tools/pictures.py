r"""Draws the pictures of docs/concepts.md and others from drawn data, with the library's own code.

    python tools/pictures.py [WORK]

Two small networks are trained for them first, by ``demo``, two minutes of one core each; they stay
in the folder WORK, if one is given, and are used again from there. Pictures and training follow
fixed seeds. The rules for the radius have a picture already, drawn by ``benchmarks/radius.py``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from heatpoint.codecs import Target
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.center_pose import CenterPoseCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.peaks import places_of, top_peaks
from heatpoint.codecs.side_maps import HEATMAP
from heatpoint.data import ImageRecord
from heatpoint.data.images import load_shown
from heatpoint.data.readers import read
from heatpoint.demonstration.demo import demo
from heatpoint.geometry import Affine, Image, clip_boxes, letterbox
from heatpoint.inference.charts import draw_waterfall
from heatpoint.inference.engines.torch import TorchEngine
from heatpoint.inference.limits import limits
from heatpoint.synthetic.pictures import NAMES, draw_scene
from heatpoint.views import Whole, channels_first
from heatpoint.views.fields import Arrays
from heatpoint.views.pictures import Picture
from heatpoint.views.tiles import Tiles
from heatpoint.zoo.detector import Detector

DOCS = Path(__file__).resolve().parent.parent / "docs"

SURE, WEAK = 0.3, 0.05
"""Least scores of what is shown as found, and of peaks that are shown at all."""

COLOURS = ("#d1495b", "#2e7d32", "#1565c0", "#e67e00", "#7b3fa0", "#00838f")


def main() -> None:
    """Trains where nothing is trained yet, and draws every picture."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "demo"
        checkpoint, val = trained(work, "boxes", 4)
        engine = TorchEngine(Detector.load(checkpoint), device="cpu", precision="fp32")
        crowd, crowds = trained(work / "crowd", "crowd", 8)
        drawn = {
            "letterbox": frames(),
            "margin": edges(),
            "peaks": peaks(engine, read(val).images[PICTURE].path),
            "sides": sides(engine, read(val).images[PICTURE].path),
            "limits": steps(checkpoint, val),
            "tiles": tiles(),
            "corners": corners(),
            "joints": joints(Detector.load(crowd), read(crowds).images[FIGURES]),
        }
        for name, figure in drawn.items():
            path = DOCS / f"concept-{name}.png"
            figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


PICTURE, FIGURES = 23, 0
"""Which of the pictures that were never trained on are shown."""


def trained(out: Path, task: Literal["boxes", "crowd"], epochs: int) -> tuple[Path, Path]:
    """Returns a demo's checkpoint and the data it is scored on, after training if need be."""
    checkpoint = out / "train" / "best.safetensors"
    if not checkpoint.exists():
        demo(out, task=task, minutes=None, epochs=epochs)
    return checkpoint, out / "data" / "val" / "annotations.json"


def frames() -> Figure:
    """Draws a box on its way from the picture to the cells of the maps, and back."""
    image_size, size, stride = (320, 480), (192, 192), 4
    scene = draw_scene(image_size, np.random.default_rng(50), clutter=False)
    (look,) = Picture(size).looks(image_size)
    codec = CenterCodec(1, stride=stride)
    inside = look.to_input.boxes(scene.boxes)
    target = Target(torch.from_numpy(inside).float(), torch.zeros(len(inside), dtype=torch.long))
    encoded = codec.encode([target], size)
    found = codec.decode(codec.ideal(encoded))
    back = look.to_image.boxes(found["boxes"][0][: len(inside)].numpy())
    one = int((scene.boxes[:, 2:] - scene.boxes[:, :2]).prod(1).argmax())
    same = back[np.abs(back - scene.boxes[one]).sum(1).argmin()]
    cut = np.ascontiguousarray(look.cut(Whole(scene.image)).transpose(1, 2, 0))

    figure, axes = _figure(12.0, 3.2, (1.5, 1.0, 1.0, 1.5))
    zoom, _, left, _, _, top = look.to_input.matrix
    shown = [
        ("1  picture, image pixels", scene.image, scene.boxes[one]),
        ("2  input, input pixels", cut, inside[one]),
        ("3  heatmap, cells", encoded.preview()[0, 0].numpy(), inside[one] / stride),
        ("4  back in the picture", scene.image, same),
    ]
    notes = (
        f"{image_size[1]} x {image_size[0]}",
        f"{size[1]} x {size[0]}:  x · {zoom:g} + {left:g},  y · {zoom:g} + {top:g}",
        f"{size[1] // stride} x {size[0] // stride}:  divided by {stride}",
        "the same way, reversed",
    )
    for axis, (title, pixels, box), note in zip(axes, shown, notes, strict=True):
        _show(axis, pixels, title)
        _box(axis, box, "white" if pixels.ndim == 2 else "black", 2)
        corners = ", ".join(f"{value:.1f}" for value in box)
        axis.set_xlabel(f"{note}\nbox {corners}", fontsize=10)
    return figure


def edges() -> Figure:
    """Draws what a network sees of objects that an edge cuts: without a margin, and with one."""
    size, around = (192, 288), 14.0
    scene = draw_scene((320, 480), np.random.default_rng(359), clutter=False)
    picture = Affine.translate(-96, -64)  # the picture is a part of what there was to see
    image = picture.warp(scene.image, size)
    boxes = picture.boxes(scene.boxes)
    inside = clip_boxes(boxes, size)
    seen = (inside[:, 2:] - inside[:, :2]).min(1) > 8
    cut, inside = (np.abs(boxes - inside).max(1) > 1)[seen], inside[seen]
    view = Affine.scale(1.3, 1.3) @ Affine.translate(-40, -30)
    shown = [
        (
            "a picture that fills the input",
            Affine.scale(1, 1),
            "dashed: cut by the picture, no label",
        ),
        ("a view of training", view, "cut by the view, and labelled"),
        ("the picture with a margin", letterbox(size, size, around), "where it ends can be seen"),
    ]
    figure, axes = _figure(12.0, 3.1, (1, 1, 1))
    for axis, (title, to_input, note) in zip(axes, shown, strict=True):
        _show(axis, to_input.warp(image, size), title)
        axis.set_xlabel(note, fontsize=10)
        for box, is_cut in zip(clip_boxes(to_input.boxes(inside), size), cut, strict=True):
            if (box[2:] - box[:2]).min() > 4:
                _box(axis, box, COLOURS[0 if is_cut else 1], 2, "--" if is_cut else "-")
        axis.set(xlim=(-6, size[1] + 6), ylim=(size[0] + 6, -6))
    return figure


def peaks(engine: TorchEngine, path: Path) -> Figure:
    """Draws a network's heatmap, its local maxima, and the boxes that are read there."""
    image = _opened(path)
    with torch.inference_mode():
        maps = engine.maps(torch.from_numpy(channels_first(image))[None])
    heat = torch.sigmoid(maps["heatmap"][0].float()).amax(0)
    best = top_peaks(maps["heatmap"], 40)
    scores = torch.sigmoid(best.values[0].float()).numpy()
    places = places_of(best.cells[0], heat.shape[1]).numpy() + 0.5
    rows = {name: values[0] for name, values in engine.read(maps).items()}

    figure, axes = _figure(12.0, 3.7)
    _show(axes[0], image, "1  picture")
    _show(axes[1], heat.numpy(), "2  heatmap: where centres are")
    _show(axes[2], heat.numpy(), "3  peaks: the local maxima")
    for (x, y), score in zip(places, scores, strict=True):
        if score >= SURE:
            axes[2].plot(x, y, "o", mfc="none", mec="#7CFC00", ms=13, mew=2)
        elif score >= WEAK:
            axes[2].plot(x, y, "o", mfc="none", mec="#bbbbbb", ms=8, mew=1)
    _show(axes[3], image, "4  boxes, read at the peaks")
    for box, score, label in _sure(rows):
        colour = COLOURS[label]
        _box(axes[3], box, colour, 2)
        text = f"{NAMES[label]} {score:.2f}"
        low = box[1] > 9
        _word(axes[3], box[0], box[1] if low else box[3], text, colour, "bottom" if low else "top")
    axes[0].set_xlabel(f"{image.shape[1]} x {image.shape[0]} pixels", fontsize=10)
    axes[1].set_xlabel(f"{heat.shape[1]} x {heat.shape[0]} cells, all classes", fontsize=10)
    weak = int(((scores < SURE) & (scores >= WEAK)).sum())
    kept = int((scores >= SURE).sum())
    axes[2].set_xlabel(f"{kept} sure ({SURE:g} and more), {weak} weak (grey)", fontsize=10)
    axes[3].set_xlabel("class and score; sides from the other maps", fontsize=10)
    return figure


def sides(engine: TorchEngine, path: Path) -> Figure:
    """Draws where a network sees sides, and how those of its boxes move there."""
    image = _opened(path)
    with torch.inference_mode():
        maps = engine.maps(torch.from_numpy(channels_first(image))[None])
    left, top, right, bottom = torch.sigmoid(maps[HEATMAP][0].float()).numpy()
    blind = {**maps, HEATMAP: torch.full_like(maps[HEATMAP], -20.0)}
    figure, axes = _figure(12.0, 3.5)
    _show(axes[1], np.maximum(left, right), "2  left and right sides")
    _show(axes[2], np.maximum(top, bottom), "3  upper and lower sides")
    titles = "1  boxes, as the middle says them", "4  boxes whose sides moved there"
    for axis, each, title in zip(axes[[0, 3]], (blind, maps), titles, strict=True):
        _show(axis, image, title)
        for box, _, label in _sure({name: rows[0] for name, rows in engine.read(each).items()}):
            _box(axis, box, COLOURS[label], 2)
    return figure


def joints(detector: Detector, record: ImageRecord) -> Figure:
    """Draws how a joint takes the likeliest of the peaks near it instead of the nearest one."""
    image, codec = _opened(record.path), detector.codec
    engine = TorchEngine(detector, device="cpu", precision="fp32")
    with torch.inference_mode():
        maps = engine.maps(torch.from_numpy(channels_first(image))[None])
    assert isinstance(codec, CenterPoseCodec)
    ways = replace(codec, joint_heatmaps=False), replace(codec, joint_spread=0.0), codec
    said, near, likely = (way.decode(maps)["keypoints"][0] for way in ways)
    rows = codec.decode(maps)
    boxes, found = rows["boxes"][0], rows["scores"][0, :, None] > SURE
    # The sure joint that another peak is furthest from.
    apart = (near - likely)[..., :2].norm(dim=-1) * (found & (likely[..., 2] > 0.7))
    row, joint = divmod(int(apart.argmax()), codec.joints)
    name = detector.skeleton.joints[joint].replace("_", " ")
    box, heat = boxes[row].numpy(), torch.sigmoid(maps["joint_heatmap"][0, joint].float())
    x, y = said[row, joint, :2].tolist()
    spread = codec.joint_spread * float(max(box[2] - box[0], box[3] - box[1]))
    down, across = (torch.arange(side) * codec.stride + codec.stride / 2 for side in heat.shape)
    distance = (across[None] - x) ** 2 + (down[:, None] - y) ** 2
    likelihood = heat * torch.exp(-distance / (2 * spread**2))

    figure, axes = _figure(12.0, 3.6)
    large = heat.repeat_interleave(codec.stride, 0).repeat_interleave(codec.stride, 1)
    chance = likelihood.repeat_interleave(codec.stride, 0).repeat_interleave(codec.stride, 1)
    _show(axes[0], image, f"1  about where the {name} is")
    _show(axes[1], large.numpy(), f"2  where there is any {name}")
    _show(axes[2], (chance / chance.max()).numpy(), "3  both together")
    _show(axes[3], image, "4  the joint")
    middle = (box[:2] + box[2:]) / 2
    shown = clip_boxes(np.add(box, (-30, -20, 30, 20)), image.shape[:2])
    arrow = {"arrowstyle": "->", "color": COLOURS[0], "lw": 2.5}
    axes[0].annotate("", (x, y), middle, arrowprops=arrow)
    for axis in axes:
        _box(axis, box, "white" if axis in axes[1:3] else COLOURS[1], 1.5)
        axis.set(xlim=shown[[0, 2]], ylim=shown[[3, 1]])
    axes[1].add_patch(Circle((x, y), spread, fill=False, ec="white", ls="--", lw=1.5))
    for axis in axes[1:]:
        axis.plot(x, y, "x", color=COLOURS[0], ms=9, mew=2.5)
        axis.plot(*near[row, joint, :2], "o", mfc="none", mec="#bbbbbb", ms=13, mew=2)
        axis.plot(*likely[row, joint, :2], "o", mfc="none", mec="#7CFC00", ms=13, mew=2.5)
    axes[0].set_xlabel("the way from the middle of its box", fontsize=10)
    axes[1].set_xlabel("a heatmap; dashed: how far off 1 may be", fontsize=10)
    axes[2].set_xlabel("probability, less with the distance", fontsize=10)
    values = near[row, joint, 2], likely[row, joint, 2]
    note = "nearest (grey) {:.2f}, likeliest (green) {:.2f}"
    axes[3].set_xlabel(note.format(*map(float, values)), fontsize=10)
    return figure


def steps(checkpoint: Path, val: Path) -> Figure:
    """Draws what ``limits`` says of the network: AP with ever more maps replaced by the truth."""
    rows = limits(str(checkpoint), str(val), device="cpu").rows
    gains = {
        f"+ true {after.replaced[-1]}": after.main - before.main for before, after in pairwise(rows)
    }
    gains["left: the representation"] = 1 - rows[-1].main
    title = "AP of a small detector on 80 drawn pictures, in percent"
    return draw_waterfall(title, ("the network's own maps", rows[0].main), gains)


def tiles() -> Figure:
    """Draws what a perfect network finds in each tile, and what is made of it."""
    size, side = (200, 330), 128
    scene = draw_scene(size, np.random.default_rng(SHEET), clutter=False, diameters=(30, 60))
    codec, view = CenterCodec(len(NAMES)), Tiles((side, side), tile=(side, side), overlap=0.2)
    looks = view.looks(size)
    parts = []
    for look in looks:
        inside = clip_boxes(look.to_input.boxes(scene.boxes), look.size)
        seen = ((inside[:, 2:] - inside[:, :2]) > 4).all(1)
        labels = torch.from_numpy(scene.labels[seen])
        target = Target(torch.from_numpy(inside[seen]).float(), labels)
        answer = codec.decode(codec.ideal(codec.encode([target], look.size)))
        rows = {name: values[0][: len(labels)].numpy() for name, values in answer.items()}
        parts.append({**rows, "boxes": look.to_image.boxes(rows["boxes"])})
    merged = view.merge(looks, parts, codec.answer, 100)

    figure, axes = _figure(12.0, 4.3, (1.0, 1.0))
    every = sum(len(part["scores"]) for part in parts)
    _show(axes[0], (scene.image // 3 + 170).astype(np.uint8), f"6 tiles: {every} boxes")
    for place, (look, part) in enumerate(zip(looks, parts, strict=True)):
        bounds = look.to_image.boxes(np.array([1.0, 1.0, side - 1.0, side - 1.0]))
        _box(axes[0], bounds, COLOURS[place], 1.2, linestyle=(0, (5, 3)))
        for box in part["boxes"]:
            _box(axes[0], box, COLOURS[place], 2)
    note = "each tile has a colour; an object in two of them is found twice, or in pieces"
    axes[0].set_xlabel(note, fontsize=10)
    _show(axes[1], scene.image, f"put together: {len(merged['scores'])} boxes")
    for box in merged["boxes"]:
        _box(axes[1], box, "black", 2)
    axes[1].set_xlabel("boxes that agree in the strip that two tiles share are one", fontsize=10)
    return figure


def corners() -> Figure:
    """Draws objects as pairs of corners, the pairs that embeddings reject, and as centres."""
    size = (128, 128)
    scene = draw_scene(size, np.random.default_rng(CROWD), clutter=False, diameters=(30, 44))
    count = len(scene.boxes)
    boxes = torch.from_numpy(scene.boxes).float()
    codec = CornerCodec(1)
    maps = codec.ideal(codec.encode([Target(boxes, torch.zeros(count, dtype=torch.long))], size))
    right = _found(codec.decode(maps))
    every = _found(replace(codec, threshold=1e6).decode(maps))
    wrong = [box for box in every if min(np.abs(box - own).max() for own in right) > 0.5]

    figure, axes = _figure(12.0, 4.6, (1.0, 1.0, 1.0))
    pale = (scene.image // 2 + 127).astype(np.uint8)
    _show(axes[0], pale, "corners, each with a number (embedding)")
    _show(axes[1], pale, "pairs: equal numbers make a box")
    _show(axes[2], pale, "centres: one point says its own box")
    for number, (x1, y1, x2, y2) in enumerate(scene.boxes.tolist(), start=1):
        for axis in axes[:2]:
            for x, y, mark in ((x1, y1, "v"), (x2, y2, "^")):
                axis.plot(x, y, mark, color=COLOURS[number - 1], ms=9, mec="black", clip_on=False)
        for x, y in ((x1, y1), (x2, y2)):
            _word(axes[0], x + 3, y, str(number), COLOURS[number - 1], "center")
    for box in wrong:
        _box(axes[1], box, "#555555", 1, linestyle=(0, (3, 3)))
    for box in right:
        own = int(np.abs(scene.boxes - box).sum(1).argmin())
        _box(axes[1], box, COLOURS[own], 2.5)
    for colour, box in zip(COLOURS, scene.boxes, strict=False):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        axes[2].plot(x, y, "o", color=colour, ms=9, mec="black")
        _box(axes[2], box, colour, 1.2)
        for to in ((box[0], y), (box[2], y), (x, box[1]), (x, box[3])):
            arrow = {"arrowstyle": "->", "color": colour, "lw": 1.8}
            axes[2].annotate("", to, (x, y), arrowprops=arrow)
    axes[0].set_xlabel("▼ top left   ▲ bottom right", fontsize=10)
    axes[1].set_xlabel(f"{len(right)} right pairs; {len(wrong)} rejected (dashed)", fontsize=10)
    axes[2].set_xlabel("nothing has to be matched", fontsize=10)
    return figure


SHEET, CROWD = 14, 218
"""Seeds of the picture that is cut into tiles, and of that with corners."""


def _opened(path: Path) -> Image:
    """Returns the pixels of a picture, (H, W, 3) uint8 RGB."""
    return load_shown(path)


def _found(rows: Any) -> list[Any]:
    """Returns the boxes of a decoded picture that have a score."""
    return [
        box
        for box, score in zip(rows["boxes"][0].numpy(), rows["scores"][0], strict=True)
        if score > 0.9
    ]


def _sure(rows: Arrays) -> list[tuple[Any, float, int]]:
    """Returns box, score and label of the rows that are sure."""
    each = zip(rows["boxes"], rows["scores"].tolist(), rows["labels"].tolist(), strict=True)
    return [row for row in each if row[1] >= SURE]


def _figure(
    width: float, height: float, shares: Sequence[float] = (1, 1, 1, 1)
) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, len(shares), width_ratios=list(shares))


def _show(axis: Axes, pixels: Image, title: str) -> None:
    height, width = pixels.shape[:2]
    options: dict[str, Any] = {"vmin": 0, "vmax": 1, "cmap": "magma"} if pixels.ndim == 2 else {}
    axis.imshow(pixels, extent=(0, width, height, 0), interpolation="nearest", **options)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=11)


def _box(axis: Axes, box: Any, colour: str, width: float, linestyle: Any = "-") -> None:
    x1, y1, x2, y2 = (float(value) for value in box)
    style: dict[str, Any] = {"ec": colour, "lw": width, "ls": linestyle, "fill": False}
    axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))


def _word(axis: Axes, x: float, y: float, text: str, colour: str, side: str) -> None:
    back = {"fc": "white", "ec": "none", "alpha": 0.85, "pad": 1}
    axis.text(x, y, text, color=colour, fontsize=9, va=side, bbox=back, weight="bold")


if __name__ == "__main__":
    main()
