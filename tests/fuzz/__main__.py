"""``make fuzz``: coverage-guided inputs for everything that reads stored bytes; nothing but ``Rejected`` may come out.

Arguments are those of libFuzzer (``-runs=1000000 -max_total_time=600``). An input that raises anything else, or that takes
longer than ten seconds, ends the run and is written to the current folder.
"""

from __future__ import annotations

import os
import sys

import atheris

with atheris.instrument_imports(include=["secure_queue"]):
    from tests.fuzz.targets import TARGETS, try_one


def main() -> None:
    """Fuzz all targets at once: the first byte of an input chooses one."""
    chosen = os.environ.get("FUZZ_TARGET")
    names = [chosen] if chosen else list(TARGETS)
    atheris.Setup([*sys.argv, "-timeout=10", "-max_len=4096"], lambda data: try_one(names, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
