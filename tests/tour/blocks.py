"""Finds the fenced blocks of a page, so that what is printed there can be run as it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_HEADING = re.compile(r"#+ (.*)")
_FENCE = re.compile(r"```(\w*)")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, its text, the heading above it and the line of the page where it begins."""

    language: str
    text: str
    heading: str
    line: int

    @property
    def commands(self) -> list[str]:
        """What stands behind the prompts of a console block, without comments."""
        return [line[2:].partition("  #")[0].strip() for line in self.text.splitlines() if line.startswith("$ ")]

    @property
    def printed(self) -> list[str]:
        """The lines of a console block that are no commands."""
        return [line for line in self.text.splitlines() if not line.startswith("$ ")]


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of *page*, in order."""
    found: list[Block] = []
    heading, language, begin, inside = "", None, 0, []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if language is not None and line == "```":
            found.append(Block(language, "\n".join(inside) + "\n", heading, begin))
            language, inside = None, []
        elif language is not None:
            inside.append(line)
        elif match := _FENCE.fullmatch(line):
            language, begin = match[1], number + 1
        elif match := _HEADING.fullmatch(line):
            heading = match[1]
    assert language is None, f"{page.name}: the block of line {begin} has no end"
    return found


def missing_targets(page: Path) -> list[str]:
    """The relative links of *page* that lead nowhere."""
    targets = {match[1] for match in _LINK.finditer(page.read_text("utf-8")) if "://" not in match[1]}
    return sorted(target for target in targets if not (page.parent / target).exists())
