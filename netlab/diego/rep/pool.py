"""What a cell hands out one by one: addresses and host ports.

The next free one after the last that was given is taken, so that a number comes back late: connections to its last
owner may still be tracked.
"""

from __future__ import annotations

from collections.abc import Iterable


class Pool:
    """Whole numbers from `start`, `count` of them."""

    def __init__(self, start: int, count: int) -> None:
        self._start = start
        self._count = count
        self._next = 0
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        """How many are left."""
        return self._count - len(self._taken)

    def take(self) -> int | None:
        """The next free number, or None."""
        for offset in range(self._count):
            number = self._start + (self._next + offset) % self._count
            if number not in self._taken:
                self._taken.add(number)
                self._next = number - self._start + 1
                return number
        return None

    def take_these(self, numbers: Iterable[int]) -> None:
        """Mark numbers as taken that an earlier owner of the pool gave."""
        for number in numbers:
            self._taken.add(number)
            self._next = max(self._next, number - self._start + 1)

    def give_back(self, numbers: Iterable[int]) -> None:
        """Free numbers; those that are free are fine."""
        self._taken.difference_update(numbers)
