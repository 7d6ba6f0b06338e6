"""What a sealed value can be for: a number in the head of every envelope, and the words that grants use for it."""

from __future__ import annotations

from enum import IntEnum


class Purpose(IntEnum):
    """What a sealed value is; each purpose has its own subkey."""

    TASK = 1
    RESULT = 2
    STATE = 3
    SCHEDULE = 4
    CONTROL = 5
    AUDIT = 6

    @property
    def word(self) -> str:
        """How key texts and grants spell it."""
        return self.name.lower()
