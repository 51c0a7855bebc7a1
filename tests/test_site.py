"""The documents as a site: it builds without a warning, and looks nowhere else for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from heatpoint.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent


def test_the_site_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="uv sync --group site installs what builds the site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = {path.stem: path.read_text("utf-8") for path in tmp_path.glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} < pages.keys()
    measured = {path.stem: path.read_text("utf-8") for path in tmp_path.glob("benchmarks/*.html")}
    assert {path.stem for path in ROOT.glob("benchmarks/*.md")} - {"README"} < measured.keys()
    for name, page in [*pages.items(), *measured.items()]:
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?:[^"]*)', page)
        assert not loaded, name
    for command in COMMANDS:
        assert f'id="heatpoint-{command}"' in pages["options"]
    assert "heatpoint.inference.predict.predict" in pages["api"]
