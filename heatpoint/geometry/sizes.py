"""Which sides of an input a network accepts: multiples of a number, less a trim."""

from __future__ import annotations


def next_multiple(side: int, multiple: int, trim: int = 0) -> int:
    """Returns the smallest multiple less ``trim`` that is not below ``side``, of at least one."""
    return max(1, -(-(side + trim) // multiple)) * multiple - trim


def less(trim: int) -> str:
    """Returns what to say behind "multiples of 128" where sides must fall short of them."""
    return f" less {trim}" if trim else ""
