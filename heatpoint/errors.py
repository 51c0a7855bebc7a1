"""The one exception a user's mistake raises, and the one warning a user's data raises."""

from __future__ import annotations

from contextlib import contextmanager

TYPE_CHECKING = False  # typing takes longer to import than all that --help needs
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


EXIT_MISTAKE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
"""Exit statuses of the command line."""


LONGEST = 900
"""Characters of a message."""


class HeatpointError(Exception):
    """A mistake the user can mend: the command line prints its message and exits with 1.

    The message names the file or argument, what was expected, what was found, and the remedy,
    in one sentence or two. Programming errors are never wrapped in it. What a damaged file puts
    into a message may be of any length: a long one loses its middle.

    A ``DataLoader`` rebuilds what a loading process raised from the text of its traceback; what
    counts is the sentence behind the last mention of the class.
    """

    def __init__(self, message: str) -> None:
        if message.startswith("Caught ") and "Traceback" in message:
            message = message.rpartition(f"{type(self).__name__}: ")[2].strip()
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 3 :]}"
        super().__init__(message)


class HeatpointWarning(UserWarning):
    """Something about the user's data that is worth a look but stops nothing."""


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Says in one sentence how to install a package that is imported within and is not there.

    Args:
        what: Begins the sentence, such as "to_pandas needs pandas".
        extra: The extra of heatpoint that brings the package.

    Raises:
        HeatpointError: It cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise HeatpointError(
            f"{what} ({error}); install it with: pip install 'heatpoint[{extra}]'"
        ) from None


def suggest(word: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the known word nearest to a misspelt or cut one.

    Returns ``""`` where none is near: a wrong guess is worse than none.
    """
    import difflib

    known = list(known)
    begun = [name for name in known if len(word) > 2 and name.startswith(word)]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.7) or begun[:1]
    return f"; did you mean {near[0]!r}?" if near else ""


def check_choice(name: str, value: object, known: Sequence[str]) -> None:
    """Raises HeatpointError unless ``value`` is one of the known names of the option ``name``."""
    if value not in known:
        hint = suggest(str(value), known)
        raise HeatpointError(f"{name} must be one of {', '.join(known)}, got {value!r}{hint}")
