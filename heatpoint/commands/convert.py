"""``heatpoint convert``: turns a published checkpoint into one of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heatpoint.commands.arguments import CommandParser


@dataclass
class Convert:
    """Turns a published checkpoint into one of ours."""

    checkpoint: str
    """a published file: .pth, .pkl, .t7 or .safetensors"""

    out: str = ""
    """file to write; the name of the checkpoint with .safetensors by default"""

    layout: str = "auto"
    """name of the layout; recognised by its tensors by default"""

    names: str = ""
    """class names in order, separated by commas, where the file's own are unknown; for joints what
    the subject is"""

    skeleton: str = ""
    """names and pairs of the joints: coco17, mpii16, lsp14, flic11 or a JSON file; MPII's for 16
    joints by default, numbered ones for other counts"""


def run(words: Sequence[str]) -> int:
    """Converts, and lists what was recognised and what was not used."""
    options = CommandParser(
        "convert", Convert, "Turns a published checkpoint into one of ours."
    ).parse(words)
    from dataclasses import replace
    from pathlib import Path

    from heatpoint.data.skeleton import skeleton_of
    from heatpoint.errors import HeatpointError
    from heatpoint.weights.convert import convert_file

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
        skeleton, codec = skeleton_of(options.skeleton), detector.joint_codec
        if len(skeleton.joints) != codec.joints:
            raise HeatpointError(
                f"--skeleton {options.skeleton} has {len(skeleton.joints)} joints, but "
                f"{options.checkpoint} has {codec.joints}"
            )
        codec = replace(codec, flip=skeleton.flip)
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
