"""``python -m benchmarks``: measure secure_queue beside its neighbours, in one run, on one private server."""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from benchmarks.environments import CONTENDERS, OURS, NoEnvironment, at_commit, python_of, version_of
from benchmarks.measure import MEASUREMENTS, OURS_ONLY, Sample, Sizes
from benchmarks.processes import Failed, Program
from benchmarks.profiling import profile_drain
from benchmarks.server import OLDEST_FOR_ALL, OLDEST_FOR_OURS, NoServer, Server, private_server
from benchmarks.summary import Samples, report
from benchmarks.tables import show


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    signal.signal(signal.SIGTERM, _leave)
    options = _parse(words)
    try:
        if options.profile:
            _profile(options)
        else:
            _compare(options)
    except (Failed, NoEnvironment, NoServer) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _compare(options: argparse.Namespace) -> None:
    _note("preparing environments")
    contenders = [CONTENDERS[name] for name in options.contestants]
    contenders += [at_commit(options.before)] if options.before else []
    pythons = {each: python_of(each) for each in contenders}
    versions = {each.name: version_of(each, python) for each, python in pythons.items()}
    secret, samples, sizes = secrets.token_urlsafe(32), Samples(), _sizes(options)
    with private_server(OLDEST_FOR_ALL if "streaq" in versions else OLDEST_FOR_OURS) as server:
        programs = [Program(each, python, server.url, secret) for each, python in pythons.items()]
        for number, measurement, program in _plan(programs, options.only, options.rounds):
            sample = MEASUREMENTS[measurement](program, server, sizes)
            samples.add(program.contender.name, measurement, sample)
            _note(
                f"round {number} of {options.rounds}: {measurement:<24} {program.contender.title:<13} {_brief(sample)}"
            )
        result = report(samples, _facts(options, server, versions))
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


def _profile(options: argparse.Namespace) -> None:
    ours = CONTENDERS["ours"]
    with private_server(OLDEST_FOR_OURS) as server:
        program = Program(ours, python_of(ours), server.url, secrets.token_urlsafe(32))
        print(profile_drain(program, server, options.tasks))


def _plan(programs: list[Program], only: list[str], rounds: int) -> Iterator[tuple[int, str, Program]]:
    """Each measurement by each contestant in turn; who goes first changes with the round."""
    for number in range(rounds):
        first = number % len(programs)
        for measurement in only:
            for program in programs[first:] + programs[:first]:
                if measurement not in OURS_ONLY or program.contender is OURS:
                    yield number + 1, measurement, program


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--tasks", type=int, default=Sizes().tasks, help="tasks per drain and batch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which medians are taken (%(default)s)")
    parser.add_argument("--trips", type=int, default=Sizes().round_trips, help="round trips per latency (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="MEASUREMENT")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--contestants", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    who.add_argument("--self", action="store_const", const=["ours"], dest="contestants", help="only secure_queue")
    parser.add_argument("--before", metavar="COMMIT", help="measure secure_queue as it was at that commit, too")
    parser.add_argument("--profile", action="store_true", help="profile our drain and print its top 25 functions")
    options = parser.parse_args(words)
    if min(options.tasks, options.rounds, options.trips) < 1:
        parser.error("--tasks, --rounds and --trips must be at least 1")
    return options


def _sizes(options: argparse.Namespace) -> Sizes:
    return Sizes(tasks=options.tasks, round_trips=options.trips)


def _facts(options: argparse.Namespace, server: Server, versions: dict[str, str]) -> dict[str, Any]:
    return {
        "versions": versions,
        "server": server.version,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "tasks": options.tasks,
        "rounds": options.rounds,
    }


def _brief(sample: Sample) -> str:
    if sample.per_second:
        return f"{sample.per_second:>9,.0f}/s"
    return ", ".join(_brief_way(way, numbers) for way, numbers in sample.ways.items())


def _brief_way(way: str, numbers: dict[str, float]) -> str:
    return f"{way} {numbers['p50']:.2f} ms" if "p50" in numbers else f"{way} {numbers['both']:.1f} us"


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
