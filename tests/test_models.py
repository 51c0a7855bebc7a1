"""``heatpoint models``: what it lists is what the zoo builds, and listing it is quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from heatpoint import plugins
from heatpoint.cli import main
from heatpoint.commands import weights
from heatpoint.commands.weights import describe
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.weights import PUBLISHED
from heatpoint.zoo import FAMILIES, models
from heatpoint.zoo.table import TABLE

LISTED = Path(weights.__file__).parent / "models.toml"
COUNTS = (16, 17)
"""Numbers of classes and of joints from which parameters of other numbers follow."""


def listing() -> str:
    """Returns one line per model, as building it for two numbers of classes or joints tells."""
    lines = ["# What `heatpoint models` prints; written by `python tests/test_models.py`.", ""]
    lines += ["families = [", *(f'    "{name}",' for name in FAMILIES), "]", "", "[models]"]
    skeletons = [Skeleton(tuple(f"joint {n}" for n in range(count))) for count in COUNTS]
    for name in models():
        few, more = (describe(name, *both) for both in zip(COUNTS, skeletons, strict=True))
        each = more["parameters"][0] - few["parameters"][0]
        facts = {**few, "parameters": [few["parameters"][0] - COUNTS[0] * each, each]}
        text = ", ".join(f"{key} = {json.dumps(value)}" for key, value in facts.items())
        lines.append(f"{name} = {{ {text} }}")
    return "\n".join(lines) + "\n"


def test_the_list_is_that_of_the_zoo() -> None:
    assert listing() == LISTED.read_text(), (
        "models changed; if that is meant, write the new list with: python tests/test_models.py"
    )


def row_of(name: str, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["models", *words]) == 0
    said = capsys.readouterr().out.splitlines()
    return next(line.split() for line in said if line.split()[:1] == [name])


@pytest.mark.parametrize(
    "name", ["cornernet_tiny", "bubbliiiing_resnet50", "hourglass_2stack", "pose_tiny"]
)
def test_parameters_are_counted_for_the_classes_and_joints_asked_for(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    built = describe(name, 1203, SKELETONS["flic11"])["parameters"][0]
    row = row_of(name, capsys, "--classes", "1203", "--skeleton", "flic11")
    assert row[1].strip("*") == f"{built / 1e6:.1f}"


def test_models_of_plugins_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "models", lambda: {"my_tiny": TABLE["centernet_tiny"]})
    assert row_of("my_tiny", capsys)[1:] == row_of("centernet_tiny", capsys)[1:]


def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from heatpoint.cli import main\n"
        "assert main(['models', '--classes', '3', '--skeleton', 'mpii16']) == 0\n"
        "assert not {'torch', 'timm'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "HEATPOINT_PLUGINS": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_a_page_of_lines_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words, most in (([], len(TABLE) + 20), (["--weights"], 1.6 * len(PUBLISHED) + 10)):
        assert main(["models", *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        assert len(lines) < most
        assert not any(line.endswith("...") for line in lines[:-1]) or words
    row = row_of("centernet_dla34", capsys)
    assert row[1:] == ["19.6*", "DLA-34", "with", "a", "deformable", "neck"]


def test_one_architecture_is_told_of_with_its_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--about", "centernet_dla34", "--classes", "3"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "as published (Zhou et al. 2019) finds boxes; input 512x512, stride 4" in said
    count = describe("centernet_dla34", 3, SKELETONS["mpii16"])["parameters"][0]
    assert f"parameters: {count / 1e6:.1f} M (3 classes" in said
    assert "ctdet_coco_dla_2x: COCO; AP 37.4 / 39.2 / 41.7; COCO val2017" in said
    assert main(["models", "--about", "centernet_topdown:resnet18"]) == 0
    assert "resnet18 of timm under a topdown neck" in capsys.readouterr().out
    assert main(["models", "--about", "centernet_dla43"]) == 1
    assert "did you mean 'centernet_dla34'" in capsys.readouterr().err


if __name__ == "__main__":
    LISTED.write_text(listing())
