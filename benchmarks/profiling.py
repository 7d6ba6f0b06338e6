"""Where the time of our drain goes: the same drain as the benchmark's, under cProfile."""

from __future__ import annotations

import io
import pstats
import tempfile
from pathlib import Path

from benchmarks.measure import fill, watch
from benchmarks.processes import Program
from benchmarks.server import Server

LINES = 25


def profile_drain(program: Program, server: Server, tasks: int) -> str:
    """Drain *tasks* under the profiler and list the functions that took most time themselves."""
    fill(program, server, tasks)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "drain.profile"
        with program.worker(profile=path) as worker:
            watch(server, worker, tasks)
        text = io.StringIO()
        pstats.Stats(str(path), stream=text).strip_dirs().sort_stats("tottime").print_stats(LINES)
        return text.getvalue()
