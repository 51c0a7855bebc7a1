"""Samples of WebDataset, packed by hand of those of COCO."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from sample_content import PARTS

Maker = Callable[[Path], Path]


def pack(path: Path, files: Mapping[str, bytes] | list[tuple[str, bytes]]) -> Path:
    """Writes a .tar file and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items() if isinstance(files, Mapping) else files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def packed(coco: Maker) -> Maker:
    """Returns what makes a folder with a shard for each split of a COCO file's pictures."""

    def make(folder: Path) -> Path:
        file = coco(folder / "loose")
        content = json.loads(file.read_text())
        for split in ("train", "val"):
            files: dict[str, bytes] = {}
            for image in content["images"]:
                name = image["file_name"]
                if (name, split) not in PARTS:
                    continue
                own = [each for each in content["annotations"] if each["image_id"] == image["id"]]
                said = {**image, "annotations": own, "categories": content["categories"]}
                files[name] = (file.parent / name).read_bytes()
                files[f"{name[0]}.json"] = json.dumps(said).encode()
            pack(folder / f"{split}-000000.tar", files)
        shutil.rmtree(folder / "loose")
        return folder

    return make
