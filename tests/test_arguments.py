"""How words and files become options, and what help says about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import pytest

from heatpoint.cli import command_class, main
from heatpoint.commands import parse as parse_words
from heatpoint.errors import HeatpointError
from heatpoint.options import File, Pictures, Scales, Seconds, Size, floats, side_lengths, windows
from heatpoint.training.options import TrainOptions

if TYPE_CHECKING:
    from heatpoint.data import Annotations


@dataclass
class Threshold:
    """Options that several commands share."""

    score: float = field(default=0.3, metadata={"alias": "conf"})
    """least score"""


@dataclass
class Options:
    """Tries.

    This is for readers of the code only.

    Examples:
        heatpoint try a.jpg
        heatpoint try a.jpg --x %
    """

    FILES: ClassVar[str] = "what is read"

    images: list[Pictures]
    """the pictures"""

    truth: File | Annotations = ""
    """what they show"""

    CHOICES: ClassVar[str] = "choices"

    skip_bad: bool = False
    """leave out a share of 100 %"""

    drawn: bool = True
    """draw them"""

    size: Size | None = None
    """input size"""

    threshold: Threshold = field(default_factory=Threshold)

    scales: Scales = (1.0,)
    """test scales"""

    start: Seconds = 0.0
    """where to start"""

    optimizer: Literal["", "adam", "sgd"] = "adam"
    """which one"""


def parse(*words: str) -> Options:
    return parse_words(words, "try", Options)


def test_words_become_options() -> None:
    assert parse("a", "b", "--skip-bad", "--size", "96x128") == Options(
        ["a", "b"], skip_bad=True, size=(96, 128)
    )
    assert parse("a", "--no-skip-bad", "--no-drawn") == Options(["a"], drawn=False)
    assert parse("--scales=0.5,1", "a", "--optimizer", "sgd", "b") == Options(
        ["a", "b"], scales=(0.5, 1.0), optimizer="sgd"
    )
    assert parse("a", "--score", "0.3", "-") == Options(["a", "-"])
    assert parse("--start", "-0.5", "--", "--a") == Options(["--a"], start=-0.5)


def test_nested_options_are_flags_like_the_others() -> None:
    expected = Options(["a"], threshold=Threshold(0.5))
    assert parse("a", "--score", "0.5") == expected
    assert parse("a", "--conf", "0.5") == expected
    assert parse("a").threshold is not parse("a").threshold


def test_mistakes_in_classes_of_options_are_noticed() -> None:
    @dataclass
    class Twice:
        score: float = 0.1
        threshold: Threshold = field(default_factory=Threshold)

    @dataclass
    class Other:
        threshold: Threshold = field(default_factory=lambda: Threshold(0.4))

    @dataclass
    class Unsayable:
        pairs: dict[str, int] = field(default_factory=dict)

    for wrong, part in (
        (Twice, "two options called score"),
        (Other, "threshold must start from the defaults"),
        (Unsayable, "no word can say the option pairs"),
    ):
        with pytest.raises(TypeError, match=part):
            parse_words([], "try", wrong)


def test_home_is_found_in_every_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "o.yaml").write_text("truth: ~/t.json\n")
    options = parse("~/a.jpg", "--config", "~/o.yaml")
    assert options.images == [f"{tmp_path}/a.jpg"]
    assert options.truth == f"{tmp_path}/t.json"


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_is_the_attributes_docstrings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for part in (
        "usage: heatpoint try IMAGES ... [options]",
        "\nTries.\n",
        "\nwhat is read:\n",
        "IMAGES                the pictures\n",
        "--truth FILE          what they show\n",
        "\nchoices:\n",
        "--skip-bad, --no-skip-bad",
        "leave out a share of 100 %\n",
        "draw them (default: on)",
        "--size HxW            input size\n",
        "least score (default: 0.3)",
        "--scales X,X          test scales (default: 1)",
        "--start SECONDS       where to start (default: 0)",
        "--optimizer {adam,sgd}",
        "examples:\n  heatpoint try a.jpg\n  heatpoint try a.jpg --x %\n",
    ):
        assert part in text
    assert "readers of the code" not in text
    assert "Optional" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "--skp-bad"], "there is no option '--skp-bad'; did you mean '--skip-bad'?"),
        (["a", "--scor", "1"], "there is no option '--scor'; did you mean '--score'?"),
        (["a", "--con", "1"], "there is no option '--con'; did you mean '--conf'?"),
        (["a", "--frobnicate=3"], "there is no option '--frobnicate'"),
        (["a", "--score", "abc"], "--score takes a number, not 'abc'"),
        (["a", "--conf", "nan"], "--score takes a number, not 'nan'"),
        (["a", "--start", "x"], "--start takes a number of seconds, not 'x'"),
        (["a", "--score"], "--score needs a value after it"),
        (["a", "--skip-bad=1"], "--skip-bad takes no value"),
        (["a", "--optimizer", "x"], "--optimizer takes one of adam, sgd, not 'x'"),
        (["--skip-bad"], "IMAGES is missing: the pictures"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*words)
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        f"heatpoint try: {message}\nheatpoint try --help lists the options\n"
    )


def test_a_word_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["split", "a", "b"])
    assert "one word too many: 'b'" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["--epoch", "--conf", "--dra"])
def test_abbreviations_are_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "a", word, "3"])
    assert stop.value.code == 2
    assert f"there is no option '{word}'" in capsys.readouterr().err


def test_config_file_gives_options(tmp_path: Path) -> None:
    first, second = tmp_path / "options.yaml", tmp_path / "more.yaml"
    first.write_text("images: [x]\nscore: 0.7\nsize: [96, 128]\nskip-bad: true\n")
    second.write_text("scales: [0.5, 1]\nsize: null\nscore: 1e-1\n")
    read = parse("--config", str(first))
    assert read == Options(["x"], skip_bad=True, size=(96, 128), threshold=Threshold(0.7))
    read = parse("--score", "0.2", "--config", str(first), "--config", str(second))
    assert read == Options(["x"], skip_bad=True, scales=(0.5, 1.0), threshold=Threshold(0.2))
    second.write_text("conf: 0.1\n")  # its second name
    assert parse("--config", str(first), "--config", str(second)).threshold == Threshold(0.1)


def test_printed_options_are_a_config_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["a", "b", "--size", "96x128", "--score", "1e-5", "--no-drawn", "--scales", "0.5,1"]
    with pytest.raises(SystemExit) as stop:
        parse(*words, "--print-config")
    assert stop.value.code == 0
    (tmp_path / "options.yaml").write_text(capsys.readouterr().out)
    assert parse("--config", str(tmp_path / "options.yaml")) == parse(*words)
    with pytest.raises(SystemExit):
        main(["train", "--print-config"])
    printed = capsys.readouterr().out
    assert "data: null\n" in printed
    (tmp_path / "train.yaml").write_text(printed)
    read = parse_words(["d", "--config", str(tmp_path / "train.yaml")], "train", TrainOptions)
    assert read == TrainOptions(["d"])


@pytest.mark.parametrize("window", ["96", "96x256", "96:2,256:1", "96x128:2,256:1"])
def test_printed_windows_are_read_back(
    window: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["d", "--window", window]
    with pytest.raises(SystemExit):
        main(["train", *words, "--print-config"])
    (tmp_path / "train.yaml").write_text(capsys.readouterr().out)
    read = parse_words(["d", "--config", str(tmp_path / "train.yaml")], "train", TrainOptions)
    assert read == parse_words(words, "train", TrainOptions)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("scor: 1", "has no option 'scor'; did you mean 'score'?"),
        ("score: high", "score takes a number, not 'high'"),
        ("score: {a: 1}", "score takes one value or a list of values"),
        ("score: null", "score takes a number, not 'null'"),
        ("skip_bad: 2", "skip_bad takes true or false, not '2'"),
        ("score: 0.1\nconf: 0.2", "has score twice, once as 'conf'"),
        ("just words", "must hold lines such as 'size: 512'"),
        ("a: [", "is not valid YAML at line"),
        ("[" * 1000, "is not valid YAML"),
        (b"images: [\xe4.jpg]", "(byte 9, line 1), but may be"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nimages: [*b, *b]", "has no option 'a'"),
        ("images: &a [[x], *a]", "is not valid YAML at line 1: more than"),
        (None, "does not exist"),
    ],
)
def test_a_wrong_config_file_is_one_sentence(
    content: str | bytes | None, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "options.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SystemExit) as stop:
        parse("a", "--config", str(path))
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"heatpoint try: --config {path}")
    assert part in message
    assert message.count("\n") == 2


def test_sizes_and_numbers() -> None:
    assert side_lengths("512") == 512
    assert side_lengths("384x512") == (384, 512)
    assert floats("0.5,1") == (0.5, 1.0)
    with pytest.raises(HeatpointError, match="384x512"):
        side_lengths("big")
    assert windows("96") == 96
    assert windows("96x128") == (96, 128)
    assert windows("96,256") == {96: 1.0, 256: 1.0}
    assert windows("96:17, 128x256:10") == {96: 17.0, (128, 256): 10.0}
    for wrong, told in {"96:x,256": "no share", "96,96": "there twice", "96,": "no size"}.items():
        with pytest.raises(HeatpointError, match=told):
            windows(wrong)
    with pytest.raises(HeatpointError, match=r"0\.5,1"):
        floats("1;2")
    with pytest.raises(HeatpointError, match="--scales: '1;2' is no list"):
        parse("a", "--scales", "1;2")


def test_a_model_may_be_left_out_where_results_are_scored(tmp_path: Path) -> None:
    kind = command_class("evaluate")
    alone = parse_words(["--results", "found.json", "val.json"], "evaluate", kind)
    told = alone.score
    assert (told.model, told.data, told.results) == (None, "val.json", "found.json")
    both = parse_words(["a.onnx", "val.json"], "evaluate", kind)
    assert (both.score.model, both.score.data) == ("a.onnx", "val.json")
    config = tmp_path / "a.yaml"
    config.write_text("results: found.json\n")
    told = parse_words(["--config", str(config), "val.json"], "evaluate", kind).score
    assert (told.model, told.data, told.results) == (None, "val.json", "found.json")
    config.write_text("model: a.onnx\ndata: val.json\n")
    read = parse_words(["--config", str(config)], "evaluate", kind)
    assert (read.score.model, read.score.data) == ("a.onnx", "val.json")
    config.write_text("data: val.json\n")
    read = parse_words(["--config", str(config), "a.onnx"], "evaluate", kind)
    assert (read.score.model, read.score.data) == ("a.onnx", "val.json")
