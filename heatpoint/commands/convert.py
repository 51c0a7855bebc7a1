"""``heatpoint convert``: turns a published checkpoint into one of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heatpoint.commands import parse
from heatpoint.options import Checkpoint, File, Names, Skeletons

EXAMPLES = (
    "heatpoint convert ctdet_coco_dla_2x.pth --out coco.safetensors",
    "heatpoint convert hg.pth --names person --skeleton mpii16",
)


@dataclass
class Convert:
    """Turns a published checkpoint into one of ours."""

    checkpoint: Checkpoint
    """a published file: .pth, .pkl, .t7 or .safetensors"""

    out: File = ""
    """file to write; the name of the checkpoint with .safetensors by default"""

    layout: str = "auto"
    """name of the layout; recognised by its tensors by default"""

    names: Names = ""
    """class names in order, separated by commas, where the file's own are unknown; for joints what
    the subject is"""

    skeleton: Skeletons = ""
    """names and pairs of the joints: coco17, mpii16, lsp14, flic11 or a JSON file; MPII's for 16
    joints by default, numbered ones for other counts"""


def run(words: Sequence[str]) -> int:
    """Converts, and lists what was recognised and what was not used."""
    options = parse(words, "convert", Convert, EXAMPLES)
    from dataclasses import replace
    from pathlib import Path

    from heatpoint.convert import convert_file
    from heatpoint.data.skeleton import skeleton_of
    from heatpoint.errors import HeatpointError

    detector = convert_file(options.checkpoint, options.layout)
    if options.names:
        names = tuple(name.strip() for name in options.names.split(","))
        if len(names) != len(detector.names):
            raise HeatpointError(
                f"--names has {len(names)} names, but {options.checkpoint} has "
                f"{len(detector.names)} classes"
            )
        detector.names = names
    if options.skeleton:
        skeleton = skeleton_of(options.skeleton)
        if detector.skeleton is None:
            raise HeatpointError(f"--skeleton is for joints, but {options.checkpoint} finds none")
        if len(skeleton) != len(detector.skeleton):
            raise HeatpointError(
                f"--skeleton {options.skeleton} has {len(skeleton)} joints, but "
                f"{options.checkpoint} has {len(detector.skeleton)}"
            )
        codec = detector.codec.fitted(len(detector.names), skeleton.flip)
        detector = replace(detector, codec=codec, skeleton=skeleton)
    out = options.out or str(Path(options.checkpoint).with_suffix(".safetensors"))
    detector.save(out)
    parameters = sum(p.numel() for p in detector.network.parameters())
    found = f"{len(detector.names)} classes"
    if detector.skeleton is not None:
        found = f"{len(detector.skeleton.joints)} joints of a {detector.names[0]}"
    print(f"{detector.meta['layout']}: {found}, {parameters:,} parameters: {out}")
    unused = detector.meta.get("unused", [])
    if unused:
        print(f"{len(unused)} tensors of the file are not used: {', '.join(unused)}")
    return 0
