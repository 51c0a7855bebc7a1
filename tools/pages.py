"""Adds to the site of the documents what is written elsewhere: README, options, functions.

mkdocs.yml names this file as a hook; ``options.md`` is made of the dataclasses of the commands and
``api.md`` of the names that ``import heatpoint`` gives, so that neither can say anything else.
"""

from __future__ import annotations

import re
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent

ELSEWHERE = {"index.md": "README.md", "changes.md": "CHANGELOG.md"}
"""Pages of the site that lie outside of docs/, by the name they have there.

So do those of ``benchmarks``, which is a folder of the site, too.
"""


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are not files of docs/."""
    sys.path.insert(0, str(ROOT))  # what a hook adds while it is imported, mkdocs takes back
    pages = {name: (ROOT / path).read_text("utf-8") for name, path in ELSEWHERE.items()}
    for path in ROOT.glob("benchmarks/*.md"):
        pages[f"benchmarks/{path.name}"] = path.read_text("utf-8").replace("](../docs/", "](../")
    pages |= {"options.md": options(), "api.md": api()}
    for name, content in pages.items():
        files.append(File.generated(config, name, content=linked(content)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Returns the text of a page, with links to files outside of docs/ turned to their pages."""
    return linked(markdown)


def linked(text: str) -> str:
    """Returns a text whose links lead to pages of the site, and pictures to themselves alone."""
    text = text.replace("](../benchmarks/", "](benchmarks/").replace("](docs/", "](")
    # On a phone a picture of many parts has to be opened to be read.
    return re.sub(r"^(!\[[^\]]*\]\(([^)]*)\))$", r"[\1](\2)", text, flags=re.MULTILINE)


def options() -> str:
    """Returns a page with every option of every command, its values, default and meaning."""
    from heatpoint.cli import COMMANDS, command_class
    from heatpoint.commands import described
    from heatpoint.options import leaves

    lines = ["# Options", ""]
    for word, (_, summary) in COMMANDS.items():
        command = command_class(word)
        lines += [f"## heatpoint {word}", "", f"{summary[0].upper()}{summary[1:]}.", ""]
        known = list(leaves(command, "options"))
        for group, members in groupby(known, lambda option: option.group):
            lines += [f"**{group}**", "", "| option | meaning |", "|---|---|"]
            for option in members:
                name = " ".join(f"`{flag}`{{ .whole }}" for flag in option.flags or [option.shown])
                lines.append(f"| {name} | {described(option).replace('|', ', ')} |")
            lines.append("")
    return "\n".join(lines)


def api() -> str:
    """Returns a page with the docstring of every name of the package."""
    import heatpoint

    lines = ["# Functions and classes", "", "What `import heatpoint` gives.", ""]
    for name in heatpoint.__all__:
        module, _, there = heatpoint._HOME[name].partition(":")
        lines += [f"::: {module}.{there or name}", ""]
    return "\n".join(lines)
