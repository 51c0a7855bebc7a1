"""The command line: what it says, what it returns, and that it is quick to say it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from heatpoint.cli import COMMANDS, main
from heatpoint.commands.arguments import CommandParser, floats, side_lengths
from heatpoint.errors import HeatpointError


@dataclass
class Options:
    """Options of a command that does not exist."""

    images: list[str]
    """the pictures"""

    skip_bad: bool = False
    """leave out a share of 100 %"""

    size: int | tuple[int, int] | None = None
    """input size"""

    score: float = 0.3
    """least score"""


def parse(*words: str) -> Options:
    return CommandParser("try", Options, "Tries.").parse(words)


def test_words_become_options() -> None:
    assert parse("a", "b", "--skip-bad", "--size", "96x128") == Options(
        ["a", "b"], skip_bad=True, size=(96, 128)
    )
    assert parse("a", "--no-skip-bad", "--score", "0.5") == Options(["a"], score=0.5)


def test_help_is_the_attributes_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    assert "least score" in capsys.readouterr().out


def test_misspelt_option_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("a", "--skp-bad")
    assert stop.value.code == 2
    assert "'--skip-bad'" in capsys.readouterr().err


def test_config_file_gives_options(tmp_path) -> None:
    (tmp_path / "options.yaml").write_text("images: [x]\nscore: 0.7\n")
    assert parse("--config", str(tmp_path / "options.yaml")) == Options(["x"], score=0.7)


def test_sizes_and_numbers() -> None:
    assert side_lengths("512") == 512
    assert side_lengths("384x512") == (384, 512)
    assert floats("0.5,1") == (0.5, 1.0)
    with pytest.raises(HeatpointError, match="384x512"):
        side_lengths("big")
    with pytest.raises(HeatpointError, match=r"0\.5,1"):
        floats("1;2")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"heatpoint {command}" in capsys.readouterr().out


def test_misspelt_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prdict"]) == 2
    assert "'predict'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["evaluate", "nowhere.safetensors", "nowhere.json"], "nowhere.json"),
        (["limits", "nowhere.safetensors", "nowhere.json"], "nowhere.json"),
        (["predict", "nowhere.safetensors", "."], "folder"),
        (["inspect", "nowhere.json"], "nowhere.json"),
        (["convert", "nowhere.pth"], "nowhere.pth"),
        (["fetch", "ctdet_coco_gh"], "'ctdet_coco_hg'"),
        (["train", "nowhere.json", "--val", "nowhere.json"], "nowhere.json"),
        (["train", "nowhere.json"], "--val"),
        (["predict", "x", "y", "--size", "tiny"], "384x512"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    message = capsys.readouterr().err
    assert part in message
    assert "Traceback" not in message
    assert message.count("\n") <= 2


def test_help_imports_no_torch() -> None:
    code = (
        "import sys, heatpoint\n"
        "from heatpoint.cli import main\n"
        "main(['--help'])\n"
        "from heatpoint.cli import COMMANDS\n"
        "for command in COMMANDS:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'torchvision', 'matplotlib', 'supervision'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("HEAVY []")
