"""Parses XML in the encodings that tools declare: nothing that could grow or would be guessed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, fromstring

from heatpoint.errors import HeatpointError
from heatpoint.system.encodings import decoded

_CODECS = {
    **{name: name for name in ("utf-8", "utf-16", "utf-32", "ascii", "big5", "euc-jp", "gb18030")},
    **{name: name for name in ("koi8-r", "koi8-u")},
    **{f"iso-8859-{part}": f"iso-8859-{part}" for part in range(1, 17)},
    **{f"windows-{page}": f"cp{page}" for page in (874, 932, 936, 949, 950, *range(1250, 1259))},
    **{f"cp{page}": f"cp{page}" for page in (874, 932, 936, 949, 950, *range(1250, 1259))},
    # What is declared by these names is written in the larger set that systems have.
    **{"gb2312": "gb18030", "gbk": "gb18030", "euc-kr": "cp949", "ks_c_5601-1987": "cp949"},
    **{"shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "big5-hkscs": "big5hkscs"},
    **{"utf8": "utf-8", "utf16": "utf-16", "us-ascii": "ascii", "latin-1": "iso-8859-1"},
    **{"latin1": "iso-8859-1", "unicode": "utf-16"},
}
"""Python's name of each encoding that is taken, by the name that is declared."""

_DECLARED = re.compile(rb"\s*<\?xml[^>]*?\bencoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
_START = 1024


def read_xml(path: Path) -> Element:
    """Returns the root of an XML file.

    The encoding is what its first bytes tell (UTF-16 and UTF-32), else what it declares, else
    UTF-8 or what ``encodings`` settles for a data set. Entities of its own are refused, as they can
    grow without bound or name other files.

    Args:
        path: The file.

    Raises:
        HeatpointError: It cannot be read, is in another encoding than it declares or in one that
            is not taken, declares entities, or is no XML; names the place.
    """
    if not path.is_file():
        raise HeatpointError(f"{path} is no file; expected an XML file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HeatpointError(f"cannot read {path}: {error.strerror or error}") from None
    if not data.strip(b"\0 \t\r\n"):
        raise HeatpointError(f"{path} is empty")
    text = _text(data, path)
    # In text that is decoded already this is how every declaration of an entity begins.
    if "<!ENTITY" in text:
        raise HeatpointError(f"{path} declares entities, which are not taken; write them out")
    try:
        return fromstring(text)
    except (ParseError, ValueError, RecursionError, MemoryError) as error:
        raise HeatpointError(f"{path} is not valid XML: {error}") from None


def _text(data: bytes, path: Path) -> str:
    """Returns the text of an XML file without its byte order mark."""
    encoding: str = json.detect_encoding(data[:4])
    if encoding == "utf-8" and (found := _DECLARED.match(data[:_START])):
        declared = found[1].decode("ascii", "replace")
        taken = _CODECS.get(declared.lower())
        if taken is None:
            raise HeatpointError(
                f"{path} declares the encoding {declared!r}, which is not taken; save it as UTF-8"
            )
        # A single byte each to here, so that this declaration is a tool's slip.
        encoding = "utf-8" if taken in ("utf-16", "utf-32") else taken
    try:
        if encoding == "utf-8":
            return decoded(data, path, "XML").removeprefix("\ufeff").lstrip()
        return data.decode(encoding).removeprefix("\ufeff").lstrip()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HeatpointError(
            f"{path} is not in {encoding}, as it should be (byte {error.start:,}, line {line:,}); "
            "save it as UTF-8, or declare its encoding in the first line"
        ) from None
