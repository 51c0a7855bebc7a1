"""How a number of things is said."""

import pytest

from heatpoint.wording import amount


@pytest.mark.parametrize(
    ("number", "nouns", "said"),
    [
        (1, ("image",), "1 image"),
        (0, ("image",), "0 images"),
        (12345, ("object",), "12,345 objects"),
        (2, ("class",), "2 classes"),
        (1, ("class", "joint"), "1 class or joint"),
        (17, ("class", "joint"), "17 classes or joints"),
        (3, ("box",), "3 boxes"),
    ],
)
def test_nouns_agree_with_their_number(number: int, nouns: tuple[str, ...], said: str) -> None:
    assert amount(number, *nouns) == said
