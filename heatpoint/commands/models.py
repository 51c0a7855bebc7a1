"""``heatpoint models``: lists the architectures and the published weights."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from heatpoint.commands import parse
from heatpoint.options import Skeletons

EXAMPLES = ("heatpoint models", "heatpoint models --classes 3 --skeleton mpii16")


@dataclass
class Models:
    """Lists the architectures that --model takes, and the weights that fetch gets."""

    COUNT: ClassVar[str] = "what parameters are counted for"

    classes: int = 80
    """number of classes, for models of boxes"""

    skeleton: Skeletons = "coco17"
    """skeleton, for models of joints: a name or a JSON file"""


def run(words: Sequence[str]) -> int:
    """Prints one entry per architecture, then one per published checkpoint."""
    options = parse(words, "models", Models, EXAMPLES)
    import torch

    from heatpoint.data.skeleton import skeleton_of
    from heatpoint.weights import PUBLISHED
    from heatpoint.zoo import FAMILIES, build, learns_joints, models

    skeleton = skeleton_of(options.skeleton)
    numbers = [str(index) for index in range(options.classes)]
    print("Architectures: name, what it finds, input, stride, parameters\n")
    for name, make in models().items():
        finds = "joints" if learns_joints(name) else "boxes"
        names = ["subject"] if finds == "joints" else numbers
        with torch.device("meta"):  # shapes without weights
            detector = build(name, names, skeleton=skeleton)
        parameters = sum(p.numel() for p in detector.network.parameters())
        height, width = detector.size
        stride = detector.codec.stride
        print(
            f"{name:<30} {finds:<6} {height:>4}x{width:<4} {stride:>2} {parameters / 1e6:>8.1f} M"
        )
        _print_wrapped(getattr(make, "summary", "") or (make.__doc__ or "").strip(), "    ")
    _print_wrapped(f"\nBy rule: {', '.join(FAMILIES)}")
    print("\nPublished weights: heatpoint fetch NAME gets them, once and only then\n")
    for record in PUBLISHED.values():
        here = "here" if record.cached.is_file() else "not here" if record.address else "by hand"
        facts = (record.architecture, record.data, record.score, record.licence, here)
        _print_wrapped(f"{record.name:<28} {'; '.join(facts)}")
    return 0


def _print_wrapped(text: str, indent: str = "") -> None:
    width = shutil.get_terminal_size().columns
    print(textwrap.fill(text, width, initial_indent=indent, subsequent_indent="    "))
