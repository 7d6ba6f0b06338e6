"""``python -m tests.chaos``: play the table, or the soak, in two lanes; exit code 1 if any promise was broken."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

import anyio

from benchmarks.server import version_of
from tests.chaos import report
from tests.chaos.case import Case, Outcome, play
from tests.chaos.rows import EVERYWHERE, not_played, soak, table
from tests.servers import server_binary

LANES = 2


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    signal.signal(signal.SIGTERM, _leave)
    options = _parse(words)
    cases, not_run = _chosen(options)
    try:
        outcomes = anyio.run(_play_all, cases, options.lanes)
    except KeyboardInterrupt:
        return 130
    facts = {"server": ".".join(map(str, version_of(server_binary()))), "python": platform.python_version()}
    if options.json:
        print(json.dumps(report.as_json(outcomes, not_run, facts)))
    else:
        report.show(outcomes, not_run, facts)
    return 1 if any(outcome.broken for outcome in outcomes) else 0


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--rows", type=_numbers, metavar="N,N", help="only these rows")
    parser.add_argument("--topology", choices=EVERYWHERE, help="only the cases on this topology")
    parser.add_argument("--lanes", type=int, choices=(1, 2), default=LANES, help="cases at once (%(default)s)")
    parser.add_argument("--soak", action="store_true", help="play row 36 instead of the table")
    parser.add_argument("--minutes", type=float, default=30, help="how long the soak lasts (%(default)g)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="which faults the soak draws (the clock)")
    options = parser.parse_args(words)
    if options.minutes <= 0:
        parser.error("--minutes must be more than 0")
    if unknown := sorted((options.rows or set()) - set(range(1, 36))):
        parser.error(f"the table has rows 1 to 35, not {unknown[0]}; --soak plays row 36")
    return options


def _numbers(text: str) -> set[int]:
    return {int(word) for word in text.split(",")}


def _chosen(options: argparse.Namespace) -> tuple[list[Case], dict[int, str]]:
    wanted: set[int] = {36} if options.soak else options.rows or set(range(1, 36))
    binary = server_binary()
    cases = soak(options.minutes, options.seed) if options.soak else table(binary)
    topologies = [options.topology] if options.topology else EVERYWHERE
    chosen = [case for case in cases if case.row in wanted and case.topology in topologies]
    return chosen, {row: why for row, why in not_played(binary).items() if row in wanted}


async def _play_all(cases: Sequence[Case], lanes: int) -> list[Outcome]:
    """Each lane takes the next case when it has finished one; the outcomes stand in the order of *cases*."""
    outcomes: dict[int, Outcome] = {}
    waiting = iter(enumerate(cases))
    async with anyio.create_task_group() as group:
        for _ in range(lanes):
            group.start_soon(_lane, waiting, outcomes, len(cases))
    return [outcomes[place] for place in range(len(cases))]


async def _lane(waiting: Iterator[tuple[int, Case]], outcomes: dict[int, Outcome], of: int) -> None:
    for place, case in waiting:
        outcomes[place] = await play(case)
        print(f"{len(outcomes):>3}/{of} {report.line(outcomes[place])}", file=sys.stderr, flush=True)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
