"""Options once: a dataclass per job is the flags of a command and the keywords of a function.

Options that several jobs share are nested: a field whose type is a dataclass stands for the fields
of that class. Annotations are read as text, so that a class of options imports nothing heavy.
"""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Whatever(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class OnlyPython(metaclass=_Whatever):
    """Stands for classes that a module of options imports for its type checker only."""


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, OnlyPython)


def types_of(options: type) -> dict[str, Any]:
    """Returns what each annotation of a class means, without the imports it would cost."""
    types = {}
    for base in reversed(options.__mro__):
        names = _Names(vars(sys.modules[base.__module__]))
        for name, text in inspect.get_annotations(base).items():
            types[name] = eval(text, {}, names) if isinstance(text, str) else text
    return types


def leaves(options: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    """Yields every option of a dataclass and, in the place of a nested one, those of that.

    Raises:
        TypeError: Two options have one name, or a nested class is given other defaults than its
            own.
    """
    seen: set[str] = set()
    for field in _walk(options):
        if field.name in seen:
            raise TypeError(f"{options.__name__} has two options called {field.name}")
        seen.add(field.name)
        yield field


def built(options: type[Result], values: Mapping[str, Any]) -> Result:
    """Returns an instance, nested ones built from the same values; what is not given has defaults.

    Args:
        options: The dataclass.
        values: Values by the names of options, flat.
    """
    types, given = types_of(options), dict[str, Any]()
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if dataclasses.is_dataclass(types[field.name]):
            given[field.name] = built(types[field.name], values)
        elif field.name in values:
            given[field.name] = values[field.name]
    return options(**given)


def keywords(
    options: type[Any], positional: int
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorates a function whose first parameter is an instance of ``options``.

    The decorated function takes every option as a keyword, and the function's further keyword
    parameters as they are; ``inspect.signature`` and ``help`` show all of them. An unknown keyword
    is a TypeError as for any function.

    Args:
        options: The dataclass.
        positional: How many of the options may be given by position.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        own = [field.name for field in leaves(options)]
        shown = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD
                if number < positional
                else inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=field.type,
            )
            for number, field in enumerate(leaves(options))
        ]
        signature = inspect.signature(function)
        further = list(signature.parameters.values())[1:]
        signature = signature.replace(parameters=[*shown, *further])

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Result:
            given = signature.bind(*args, **kwargs).arguments
            chosen = {name: value for name, value in given.items() if name in own}
            others = {name: value for name, value in given.items() if name not in own}
            return function(built(options, chosen), **others)

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate


def _walk(options: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    types = types_of(options)
    for field in dataclasses.fields(options):
        nested = types[field.name]
        if not dataclasses.is_dataclass(nested):
            yield field
            continue
        if field.default_factory not in (dataclasses.MISSING, nested):
            raise TypeError(f"{field.name} must start from the defaults of its own class")
        assert isinstance(nested, type)
        yield from _walk(nested)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    missing = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if missing else field.default
