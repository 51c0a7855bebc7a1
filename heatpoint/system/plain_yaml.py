"""Parses YAML into texts, lists and mappings: nothing that could run, grow or be guessed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from heatpoint.errors import HeatpointError

DEEPEST, MOST = 50, 200_000
"""Levels of brackets and values in all, aliases followed, of any file that people write."""

_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map", "python/tuple")}

Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""The loader that leaves every value the text it is; in C where that was built."""


def parse(text: str, where: object) -> Any:
    """Returns the content of a YAML text; every value without brackets is the text it is.

    So ``on``, ``007`` and ``2001-01-01`` stay what was written, whatever version of YAML would
    make of them; nothing at all is "", and the reader of a number calls ``int``.

    Args:
        text: One YAML document.
        where: The file it stands in, for messages.

    Raises:
        HeatpointError: It is no YAML, names a key twice, or grows beyond what people write.
    """
    try:
        _check_depth(text, where)
        node = yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        raise _wrong(where, mark, said) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _wrong(where, None, " ".join(str(error).split())[:200]) from None
    return "" if node is None else _value(node, where, count(1), 0)


def _check_depth(text: str, where: object) -> None:
    """Makes sure that brackets are not too deep for ``compose``.

    It calls itself for each level, in C, where some versions of Python do not count the calls and
    the process ends with the stack. Events come without.
    """
    depth = 0
    for event in yaml.parse(text, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _too_much(where, event.start_mark)


def _value(node: Node, where: object, values: Iterator[int], depth: int) -> Any:
    """Returns the value of a node, of which ``depth`` nodes are around and ``values`` were seen."""
    if next(values) > MOST or depth > DEEPEST:
        raise _too_much(where, node.start_mark)
    if node.tag not in _TAGS:
        raise _wrong(where, node.start_mark, f"the tag {node.tag!r:.60} is not taken; leave it out")
    if isinstance(node, SequenceNode):
        return [_value(one, where, values, depth + 1) for one in node.value]
    if not isinstance(node, MappingNode):
        return node.value
    content: dict[str, Any] = {}
    for key, one in node.value:
        if not isinstance(key, ScalarNode) or key.value == "<<":
            said = "lists, mappings and '<<' are not taken for keys"
            raise _wrong(where, key.start_mark, said)
        if key.value in content:
            raise _wrong(where, key.start_mark, f"the key {key.value!r:.60} stands twice")
        content[key.value] = _value(one, where, values, depth + 1)
    return content


def _too_much(where: object, mark: Any) -> HeatpointError:
    return _wrong(where, mark, f"more than {MOST:,} values or {DEEPEST} levels are not taken")


def _wrong(where: object, mark: Any, said: str) -> HeatpointError:
    place = f" at line {mark.line + 1:,}" if mark is not None else ""
    return HeatpointError(f"{where} is not valid YAML{place}: {said}")
