"""The command line: what it says, what it returns, and that it is quick to say it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_arguments import help_of

from heatpoint.cli import COMMANDS, command_class, main
from heatpoint.commands import as_flags
from heatpoint.commands.finding import Predict
from heatpoint.commands.training import Demo
from heatpoint.errors import HeatpointWarning, suggest

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(command, capsys=capsys)
    assert f"usage: heatpoint {command}" in text
    for part in ("--plugin FILE_OR_MODULE", "--config FILE", "--print-config"):
        assert part in text
    examples = text.split("examples:\n")[1].splitlines()
    assert len(examples) == 2
    assert all(example.startswith(f"  heatpoint {command}") for example in examples)
    for odd in ("Optional", "Union", "None", "null", "type:", "required"):
        assert odd not in text
    assert max(map(len, text.split("examples:")[0].splitlines())) <= 80


def test_examples_can_be_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in COMMANDS:
        for example in re.findall("heatpoint .*", command_class(command).__doc__ or ""):
            with pytest.raises(SystemExit) as stop:
                main([*example.split()[1:], "--print-config"])
            assert stop.value.code == 0


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("prdict", "predict"),
        ("trian", "train"),
        ("tran", "train"),
        ("modles", "models"),
        ("model", "models"),
        ("evalute", "evaluate"),
        ("eval", "evaluate"),
        ("bench", "benchmark"),
        ("spilt", "split"),
        ("vidoe", "video"),
        ("fecth", "fetch"),
        ("detect", None),
        ("test", None),
        ("infer", None),
        ("plot", None),
        ("run", None),
        ("e", None),
    ],
)
def test_suggestions_are_near_or_none(typed: str, meant: str | None) -> None:
    assert suggest(typed, COMMANDS) == (f"; did you mean {meant!r}?" if meant else "")


def test_misspelt_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prdict"]) == 2
    assert "'predict'" in capsys.readouterr().err
    assert main(["detect"]) == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("keep_resolution is for pictures", "--keep-resolution is for pictures"),
        ("lower batch_size or size", "lower --batch-size or size"),
        ("leave out nms and soft_nms.", "leave out nms and --soft-nms."),
        ("(soft_nms='none', skip_bad)", "(--soft-nms='none', --skip-bad)"),
        ("export it with --max-detections 5", "export it with --max-detections 5"),
        (
            "runs/skip_bad: no 'skip_bad', skip_bad.json",
            "runs/skip_bad: no 'skip_bad', skip_bad.json",
        ),
        ("my_skip_bad, skip_bad_too and eval_every", "my_skip_bad, skip_bad_too and eval_every"),
    ],
)
def test_messages_name_options_as_flags(message: str, expected: str) -> None:
    assert as_flags(message, Predict) == expected
    assert as_flags(message, Demo) == message  # which has no such options


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
        (["predict", "x", "y", "--size", "tiny"], "384x512"),
        (["models", "--plugin", "nowhere.py"], "nowhere.py"),
        (["models", "--classes", "0"], "--classes must be at least 1, not 0"),
        (
            ["train", "x.json", "--val", "x.json", "--batch-size", "0"],
            "--batch-size must be at least",
        ),
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


def test_warnings_about_data_show_no_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from heatpoint.commands.weights import Models

    def run(options: Models) -> int:
        warnings.simplefilter("always")
        warnings.warn("skipped: a.jpg is no picture", HeatpointWarning, stacklevel=1)
        warnings.warn("something else", DeprecationWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(Models, "run", run)
    assert main(["models"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "heatpoint: skipped: a.jpg is no picture"
    assert "DeprecationWarning: something else" in lines[1]


def run_in_shell(words: str, **environment: str) -> tuple[int, str]:
    """Returns the exit status and standard error of ``heatpoint ...`` in a shell."""
    code = "import sys; from heatpoint.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$0" -c "$1" {words}', sys.executable, code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_output_that_finds_no_room_is_a_mistake() -> None:
    status, message = run_in_shell("train --help > /dev/full")
    assert status == 1
    assert message.startswith("heatpoint train: there is no room")
    assert message.count("\n") == 1


def test_output_that_nobody_reads_or_cannot_be_written_is_none() -> None:
    assert run_in_shell("train --help | true") == (0, "")
    assert run_in_shell("models | head -1", PYTHONIOENCODING="ascii") == (0, "")


def test_a_signal_while_starting_is_a_sentence() -> None:
    code = (
        "import os, signal, sys\n"
        "from heatpoint import cli\n"
        "cli.command_class = lambda word: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(cli.main(['train']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "heatpoint train: interrupted\n")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, heatpoint\n"
        "from heatpoint.cli import main\n"
        "main(['--help'])\n"
        "from heatpoint.cli import COMMANDS\n"
        "for command in COMMANDS:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'torchvision', 'matplotlib', 'supervision', 'numpy', 'rich', "
        "'yaml'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("HEAVY []")
