"""``make fuzz``: coverage-guided inputs for everything that reads stored bytes; nothing but ``Rejected`` may come out.

    python -m tests.fuzz INPUTS [OPTION OF LIBFUZZER ...]

Each target gets its share of INPUTS in a process of its own, so that what it has learned is not spent on the others, and
begins with something genuine. An input that raises anything else, or that takes longer than ten seconds, ends the run
and is written to the current folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NoReturn

import atheris

_CHOSEN: Final = "FUZZ_TARGET"
_DONE: Final = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)


def main() -> None:
    """The chosen target, or all of them, one after the other."""
    chosen = os.environ.get(_CHOSEN)
    if chosen:
        _search(chosen)
    from tests.fuzz.targets import SEEDS

    inputs, options = int(sys.argv[1]), sys.argv[2:]
    total = sum(_fuzz(name, seeds, -(-inputs // len(SEEDS)), options) for name, seeds in SEEDS.items())
    print(f"{total:,} inputs, nothing but Rejected came out")


def _search(name: str) -> NoReturn:
    with atheris.instrument_imports(include=["secure_queue"]):
        from tests.fuzz.targets import try_one

    atheris.Setup([*sys.argv, "-timeout=10", "-max_len=4096"], lambda data: try_one(name, data))
    atheris.Fuzz()
    raise AssertionError("libFuzzer ends the process")


def _fuzz(name: str, seeds: Sequence[bytes], inputs: int, options: list[str]) -> int:
    """Fuzz one target and say how many inputs it was given; its finding ends everything."""
    with TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(seed)
        command = [sys.executable, "-m", "tests.fuzz", corpus, f"-runs={inputs}", *options]
        run = subprocess.run(command, env=os.environ | {_CHOSEN: name}, stderr=subprocess.PIPE, text=True)
        grown = sum(1 for _ in Path(corpus).iterdir())
    found = _DONE.search(run.stderr)
    if run.returncode or found is None:
        sys.exit(f"{name}:\n{run.stderr[-4000:]}")
    print(f"{name:10} {int(found[1]):9,} inputs in {found[2]} s, {grown} of them led to something new", flush=True)
    return int(found[1])


if __name__ == "__main__":
    main()
