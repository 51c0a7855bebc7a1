"""Models that are put into a repository of a hub and come back; the hub is one of this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub import KEY, Hub, serve_hub

from heatpoint import zoo
from heatpoint.zoo.detector import Detector


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Returns an empty hub."""
    with serve_hub() as served:
        yield served


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Returns the file of a small untrained detector."""
    torch.manual_seed(1)
    detector = zoo.build("centernet_tiny", ["bee", "<wasp>"])
    detector.meta["trained"] = {"images": 7, "score": {"ap": 0.51234}}
    detector.save(tmp_path / "best.safetensors")
    return tmp_path / "best.safetensors"


def said(hub: Hub, folder: Path, *words: str, key: str = KEY, fails: bool = False) -> str:
    """Returns what a command prints, on standard error where it has to fail."""
    # The variables are read when the hub's library is imported.
    names = {"HF_ENDPOINT": hub.address, "HF_TOKEN": key, "HF_HOME": str(folder / "hf")}
    own = {"PATH": "", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "import sys; from heatpoint.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, *words],
        cwd=folder,
        env={**own, **names, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if fails else done.stdout


def test_a_model_comes_back_as_it_was(hub: Hub, saved: Path, tmp_path: Path) -> None:
    told = said(hub, tmp_path, "push", str(saved), "me/bees", "--licence", "cc-by-4.0")
    assert f"{hub.address}/me/bees" in told
    assert hub.private == {"me/bees": True}
    card = hub.repos["me/bees"][-1]["README.md"].decode()
    assert card.startswith("---\nlibrary_name: heatpoint\n")
    assert "license: cc-by-4.0" in card
    assert "heatpoint pull me/bees" in card
    assert "ap 0.5123" in card
    told = said(hub, tmp_path, "pull", "me/bees")
    assert "centernet_tiny, finds bee, <wasp>: bees.safetensors" in told
    assert (tmp_path / "bees.safetensors").read_bytes() == saved.read_bytes()
    assert Detector.load(tmp_path / "bees.safetensors").names == ("bee", "<wasp>")


@pytest.mark.parametrize("trained", [None, {"images": 7, "score": None}])
def test_a_model_without_scores_is_uploaded_without_them(
    hub: Hub, saved: Path, tmp_path: Path, trained: dict[str, object] | None
) -> None:
    detector = Detector.load(saved)
    detector.meta = {} if trained is None else {"trained": trained}
    detector.save(saved)
    said(hub, tmp_path, "push", str(saved), "me/bees")
    assert "Trained on" not in hub.repos["me/bees"][-1]["README.md"].decode()


def test_a_page_of_ones_own_and_earlier_versions_stay(
    hub: Hub, saved: Path, tmp_path: Path
) -> None:
    hub.repos["me/bees"] = [{}, {"README.md": b"mine", "old.safetensors": saved.read_bytes()}]
    said(hub, tmp_path, "push", str(saved), "me/bees")
    assert hub.repos["me/bees"][-1]["README.md"] == b"mine"
    assert set(hub.repos["me/bees"][-1]) == {"README.md", "old.safetensors", "model.safetensors"}
    said(hub, tmp_path, "pull", "me/bees", "--revision", "first", "--out", "a.safetensors")
    assert (tmp_path / "a.safetensors").is_file()


def test_what_goes_wrong_is_said(hub: Hub, saved: Path, tmp_path: Path) -> None:
    def wrong(*words: str, key: str = KEY) -> str:
        return said(hub, tmp_path, *words, key=key, fails=True)

    assert "log in with" in wrong("push", str(saved), "me/bees", key="hf_other")
    assert "is no name of a repository" in wrong("push", str(saved), "me/bees/x")
    assert "has no repository me/bees" in wrong("pull", "me/bees")
    hub.repos["me/bees"] = [{}, {"a.safetensors": b"1", "b.safetensors": b"2"}]
    assert "holds several checkpoints (a.safetensors, b.safetensors)" in wrong("pull", "me/bees")
    assert "holds no c.pt" in wrong("pull", "me/bees", "--file", "c.pt")
    assert "no such revision" in wrong("pull", "me/bees", "--revision", "v9")
    assert "not a heatpoint detector" in wrong("pull", "me/bees", "--file", "a.safetensors")
    assert not (tmp_path / "bees.safetensors").exists()
    (tmp_path / "bees.safetensors").write_bytes(b"mine")
    assert "bees.safetensors" in wrong("pull", "me/bees")
    assert (tmp_path / "bees.safetensors").read_bytes() == b"mine"
    (tmp_path / "no.txt").write_text("no")
    assert "not a heatpoint detector" in wrong("push", "no.txt", "me/bees")
    hub.address = "http://127.0.0.1:9"
    assert "cannot be reached" in wrong("push", str(saved), "me/bees")  # pull tries for a while
