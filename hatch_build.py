"""What an index page shows of a release: the README, with addresses that work there.

An index shows no files of a project, so the README's links and its picture need the address of the
repository, which HEATPOINT_ADDRESS names while the release is built; it becomes the project's
address on that page as well. Without it the text has neither, rather than links that lead nowhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)]*)\)")


class Metadata(MetadataHookInterface):
    """Fills in ``readme`` and ``urls``, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds the README and the addresses to the metadata of a build."""
        address = os.environ.get("HEATPOINT_ADDRESS", "").rstrip("/")
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": described(text, address)}
        if address:
            metadata["urls"] = {
                "Source": address,
                "Documentation": f"{address}/tree/main/docs",
                "Changelog": f"{address}/blob/main/CHANGELOG.md",
            }


def described(text: str, address: str) -> str:
    """Returns the README with links below an address; without one their words alone."""

    def replaced(link: re.Match[str]) -> str:
        picture, words, path = link.groups()
        if not address:
            return "" if picture else words
        return f"{picture}[{words}]({address}/{'raw' if picture else 'blob'}/main/{path})"

    if not address:  # the line below the picture goes with it
        text = re.sub(r"!\[[^\]]*\]\([^)]*\)\n\n\*[^*]*\*\n\n", "", text)
    return _LINK.sub(replaced, text)
