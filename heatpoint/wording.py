"""How a number of things is said; one rule, since every report counts something."""


def amount(number: int, *nouns: str) -> str:
    """Returns how many there are of something, in words that agree with the number.

    Args:
        number: How many; thousands are parted by commas.
        *nouns: The thing in the singular; of several kinds together, each.

    Example:
        >>> amount(1, "picture"), amount(2805, "object"), amount(2, "box")
        ('1 picture', '2,805 objects', '2 boxes')
        >>> amount(0, "class", "joint")
        '0 classes or joints'
    """
    words = [
        noun if number == 1 else noun + ("es" if noun.endswith(("s", "x")) else "s")
        for noun in nouns
    ]
    return f"{number:,} {' or '.join(words)}"
