"""``heatpoint fetch``: gets published weights, as a checkpoint that every command takes by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heatpoint.commands import parse
from heatpoint.options import File, Name

EXAMPLES = (
    "heatpoint fetch mmdet_cornernet_8xb6",
    "heatpoint fetch ctdet_coco_hg --file ~/ctdet_coco_hg.pth",
)


@dataclass
class Fetch:
    """Gets published weights by name."""

    name: Name
    """a name that heatpoint models lists"""

    file: File = ""
    """the publisher's file, if it is here already; nothing is downloaded then"""


def run(words: Sequence[str]) -> int:
    """Fetches, and says where the checkpoint is and what it should score."""
    options = parse(words, "fetch", Fetch, EXAMPLES)
    from heatpoint.commands.display import Progress
    from heatpoint.convert import fetch
    from heatpoint.weights import published

    record = published(options.name)
    with Progress(f"fetching {record.name}") as progress:
        path = fetch(record.name, options.file or None, progress)
    print(f"{record.name}: {path}")
    print(f"{record.architecture}, {record.classes} classes or joints of {record.data}")
    print(f"should score {record.score} ({record.protocol}; {record.reported})")
    print(f"licence of {record.page}: {record.licence}")
    if not record.sha256:
        print("its publisher names no hash: only its length and its tensors were verified")
    return 0
