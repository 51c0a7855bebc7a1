"""Reads text in national encodings, of which nothing in the text says which one it is.

Tools on Windows write names in the encoding of its owner's country. The same bytes are words in
one encoding and a jumble, or other words, in another. So it is settled by evidence, which is told:
the user's word, names of pictures on disk that stand in the text, or what can be words in one
encoding only. Where none settles it, the user is asked. Guessing by frequencies of letters needs
longer texts: of 48 lists of classes in 13 encodings charset-normalizer read 26 right and 22 wrong,
this module 35 right and one wrong (UTF-8 by chance), and asked for twelve.
"""

from __future__ import annotations

import json
import locale
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

from heatpoint.errors import HeatpointError

_LATIN = {
    "cp1252": ("àâæçéèêëîïôœùûü", "äöüß", "áéíñóúü", "àáâãçéêíóôõú", "åäöæøé", "àèéìíòóùúïüç"),
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž"),
    "cp1254": ("çğıöşüâîû",),
    "cp1257": ("āčēģīķļņšūž", "ąčęėįšųūž", "äõöüšž"),
}
"""Letters beyond ASCII of the languages of an encoding."""

_WORDS = {
    **{name: tuple(f"[a-z{own}]+" for own in each) for name, each in _LATIN.items()},
    "cp1251": ("[а-яё]+", "[а-щьюяґєії]+", "[а-шыьэюяёіў]+", "[а-икл-шђјљњћџ]+"),
    "cp1253": ("(?=.{1,3}$|.*[άέήίόύώΐ])([α-ρσ-ωάέήίόύώϊϋΐ]|ς$)+",),
    "cp1255": ("[אבגדהוזחטיכלמנסעפצקרשת]*[א-ת]",),
    "cp1256": ("[ء-غف-ْپچژگ]+",),
    "cp874": ("([เ-ไ]?[ก-ฮ][ัิ-ฺ็-๎]{0,3}[ะาำ]?)+",),
}
"""What a word in lower case looks like, for each language of an encoding."""

_COMMON = {
    "gb18030": rb"([\xb0-\xd7][\xa1-\xfe]|[\xa1\xa3][\xa1-\xfe])+",
    "cp950": rb"([\xa4-\xc5][\x40-\x7e\xa1-\xfe]|\xc6[\x40-\x7e]|[\xa1-\xa3][\x40-\xfe])+",
    "cp932": rb"(\x82[\x4f-\xf1]|\x83[\x40-\x96]|\x81[\x40-\xac]|[\x88-\x97][\x40-\xfc])+",
    "cp949": rb"([\xb0-\xc8][\xa1-\xfe]|[\xa1\xa3][\xa1-\xfe])+",
}
"""The bytes of common characters, where one takes two bytes."""

_CANDIDATES = (*_COMMON, *_WORDS, "euc_jp", "koi8_r", "cp866")

_MARKS = "\u0300-\u036f\u064b-\u0652\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_WORD = re.compile(rf"(?:[^\W\d_]|[{_MARKS}])+")
_SIGNS = set("«»“”„‘’–—…°№©®²³§")
"""Signs that stand between words of any language."""

_END = re.compile(rb"[\"',:;<>=/\s]")
_NAME = re.compile(rb"[\x80-\xff][^\"',:;<>=/\r\n]*")
"""The rest of a name: no byte that ends one is part of a character of two bytes."""

_MOST, _LONGEST = 10_000, 255
"""Names that are looked at, and letters before and behind the first that is not of ASCII."""

_CHANCE = 3
"""Characters that may be UTF-8 by chance: the Chinese for cat is the UTF-8 of an e with accent."""

_ENOUGH = 8
"""Syllables of Korean that would hardly all be common characters of Chinese, which may be any."""

_NAMES = 300
"""Names on disk that are looked for in a text."""


@dataclass
class National:
    """What is known of the national encoding of a data set while it is read.

    Attributes:
        folders: Where its pictures may be.
        encoding: What the user named or a file settled, "" before.
        why: What settled it, in words.
        told: What each file was read as and why, by its path.
    """

    folders: Sequence[Path] = ()
    encoding: str = ""
    why: str = ""
    told: dict[str, str] = field(default_factory=dict)


_CURRENT = ContextVar[National]("_CURRENT")


def choose(encoding: str) -> None:
    """Takes texts that are no Unicode for what the user says, in this context from here on.

    Raises:
        HeatpointError: There is no such encoding of texts.
    """
    _CURRENT.set(_named(encoding))


@contextmanager
def reading(folders: Sequence[Path], encoding: str = "") -> Iterator[National]:
    """Settles the encoding of the files of one data set together.

    Args:
        folders: Where its pictures may be, whose names may stand in the files.
        encoding: What the user says it is; "" for what ``choose`` was told, or to find out.

    Raises:
        HeatpointError: There is no such encoding of texts.
    """
    named = _named(encoding) if encoding else _CURRENT.get(National())
    national = National(folders, named.encoding, named.why)
    token = _CURRENT.set(national)
    try:
        yield national
    finally:
        _CURRENT.reset(token)


def is_settled() -> bool:
    """Returns whether the national encoding of the files is known already."""
    return bool(_CURRENT.get(National()).encoding)


def _named(encoding: str) -> National:
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise HeatpointError(
            f"there is no encoding {encoding!r}; expected one such as cp1251, cp1252, gb18030 or "
            "shift_jis"
        ) from None
    return National(encoding=encoding, why="as --encoding says")


def decoded(data: bytes, path: str | Path, kind: str) -> str:
    """Returns the text of a file: Unicode, or in the national encoding of its data set.

    UTF-16 and UTF-32 are told by the first bytes, and what is valid UTF-8 is UTF-8; so a set may
    hold files of both.

    Args:
        data: What it holds.
        path: The file, for the message.
        kind: What it should be, for the message.

    Raises:
        HeatpointError: It is neither, or may be one of several; says which.
    """
    national = _CURRENT.get(National())
    unicode = json.detect_encoding(data[:4])
    text = None
    try:
        text = data.decode(unicode)
        if unicode != "utf-8" or not 0 < len(data) - len(text) <= _CHANCE or not national.encoding:
            return text
    except UnicodeDecodeError as error:
        place = f"(byte {error.start:,}, line {data.count(bytes([10]), 0, error.start) + 1:,})"
    if not national.encoding:
        national = _settled(data, national, f"{path} is not {kind} in UTF-8", place)
    with suppress(UnicodeDecodeError):
        text = data.decode(national.encoding)
        at = next(re.finditer(r"[^\0-\x7f]", text)).start()
        words = _WORD.findall(text[max(0, at - 20) : at + 20])
        word = next((word for word in words if not word.isascii()), "")
        said = f"{path} is read as {national.encoding}, {word!r} for one: {national.why}"
        national.told[str(path)] = said
    if text is None:
        raise HeatpointError(f"{path} is not {kind} in UTF-8 {place}, nor in {national.encoding}")
    return text


def _settled(data: bytes, national: National, wrong: str, place: str) -> National:
    """Returns ``national`` with the encoding of some bytes, settled by evidence.

    Args:
        data: What is not Unicode.
        national: It grows, if it is of a data set.
        wrong: How to begin the message.
        place: Where it is not.
    """
    if b"\0" in data:
        raise HeatpointError(f"{wrong}; it holds no text at all, or was damaged")
    found = {}
    for rest in islice(_NAME.finditer(data), _MOST):
        first = _END.split(data[max(0, rest.start() - _LONGEST) : rest.start()])[-1]
        if len(rest[0]) <= _LONGEST:
            found[first + rest[0]] = True
    sample = b"\n".join(found)
    texts = {}
    for encoding in _CANDIDATES if found else ():
        with suppress(UnicodeDecodeError):
            texts[encoding] = sample.decode(encoding)
    names = list(islice(_national_names(national.folders), _NAMES))
    known = {one: sum(name in text for name in names) for one, text in texts.items()}
    why, likely = "names of the pictures are found so", texts
    if most := max(known.values(), default=0):
        likely = {one: text for one, text in texts.items() if known[one] == most}
    if not most or len(set(likely.values())) > 1:
        why = "it is words in no other encoding"
        likely = {one: text for one, text in likely.items() if _is_words(one, text)}
    own = locale.getencoding().lower()
    if len(likely) > 1 and own in likely:
        why, likely = "the one of this system", {own: likely[own]}
    elif "cp949" in likely and sum(c > "\x7f" for c in likely["cp949"]) >= _ENOUGH:
        likely = {"cp949": likely["cp949"]}
    if len(set(likely.values())) != 1 or not national.folders:
        texts = likely or texts
        rows = list(zip(*(text.split("\n") for text in texts.values()), strict=False))
        differing = next((row for row in rows if len(set(row)) > 1), rows[0] if rows else ())
        shown = [f"{one} ({name[:20]!r})" for one, name in zip(texts, differing, strict=False)]
        may_be = f", but may be {' or '.join(shown[:3])}" if shown else ""
        raise HeatpointError(
            f"{wrong} {place}{may_be}; save it as UTF-8, or name its encoding by --encoding"
        )
    national.encoding, national.why = next(iter(likely)), why
    return national


def _national_names(folders: Sequence[Path]) -> Iterator[str]:
    """Yields the names, with letters beyond ASCII, of what is in some folders and just below."""
    for folder in folders:
        with suppress(OSError):
            inner = [entry.path for entry in os.scandir(folder) if entry.is_dir()]
            for place in map(str, (folder, *inner)):
                with suppress(OSError):
                    names = [name for name in os.listdir(place) if not name.isascii()]
                    yield from (unicodedata.normalize("NFC", name) for name in names)


def _is_words(encoding: str, text: str) -> bool:
    """Returns whether a text that was read in an encoding can be words of its languages."""
    if encoding in _COMMON:
        national = re.sub(r"[\0-\x7f]", "", text).encode(encoding)
        return re.fullmatch(_COMMON[encoding], national) is not None
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    rest = {letter for letter in _WORD.sub("", text) if letter > "\x7f"}
    letters = "".join(words)
    if encoding in _LATIN and 2 * sum(letter > "\x7f" for letter in letters) > len(letters):
        return False
    for word in words:
        if any(one.islower() and two.isupper() and two > "\x7f" for one, two in pairwise(word)):
            return False
    languages = _WORDS.get(encoding, ())
    lower = [word.lower() for word in words]
    return (
        bool(words)
        and not rest - _SIGNS
        and any(all(re.fullmatch(one, word) for word in lower) for one in languages)
    )
