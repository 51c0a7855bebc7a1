"""The notebook of the documents, cell after cell in a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "first-steps.ipynb"


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    content = json.loads(NOTEBOOK.read_text("utf-8"))
    assert content["nbformat"] == 4
    cells = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for cell in cells:
        # Fewer pictures and epochs; everything else as it stands.
        exec(cell.replace("400", "40").replace("epochs=6", "epochs=1"), names)
    assert Path("runs/notebook/best.safetensors").is_file()
    assert names["found"].plot().shape == (96, 96, 3)
    assert not any(cell.get("outputs") for cell in content["cells"])  # nothing of a machine
