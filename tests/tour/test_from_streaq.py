"""The programs of from-streaq.md, in which nothing but the import is changed, on a real server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from secure_queue.settings import KEYS_VARIABLE
from tests.servers import PATIENCE, Server
from tests.tour.blocks import ROOT, Block, blocks_of
from tests.tour.test_guide import PROMISE, SECRET, name

PAGE = ROOT / "docs" / "from-streaq.md"
PROGRAMS = [block for block in blocks_of(PAGE) if block.language == "py"]
THEIRS, OURS = "from streaq import", "from secure_queue import"


@pytest.mark.parametrize("block", PROGRAMS, ids=name)
def test_changing_the_import_is_enough(
    block: Block,
    real_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real_server.command("FLUSHALL")
    monkeypatch.setenv(KEYS_VARIABLE, SECRET)
    assert block.text.count("streaq") == 1
    text = block.text.replace(THEIRS, OURS).replace("redis://localhost:6379", f"unix://{real_server.unix_path}")
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile("\n" * (block.line - 1) + text, str(tmp_path / "app.py"), "exec"), names)
    anyio.run(run, names["worker"], names["main"], backend_options={"use_uvloop": True})
    assert capsys.readouterr().out.splitlines() == PROMISE.findall(block.text)


async def run(worker: Any, main: Any) -> None:
    with anyio.fail_after(PATIENCE):
        async with worker, anyio.create_task_group() as group:
            await group.start(worker.run_async)
            await main()
            worker.drain()


def test_the_page_has_a_program_for_every_chapter_of_the_page_of_streaq() -> None:
    text = " ".join(block.text for block in PROGRAMS)
    spelled = set(re.findall(r"\b(\w+)=", text)) | set(re.findall(r"\.(\w+)\(", text))
    promised = {
        *("lifespan", "serializer", "deserializer", "signing_secret", "redis_url", "redis_kwargs", "concurrency"),
        *("sync_concurrency", "queue_name", "priorities", "prefetch", "tz", "handle_signals", "idle_timeout"),
        *("grace_period", "anyio_backend", "anyio_kwargs", "sentinel_kwargs", "id", "include", "enqueue_unsafe"),
        *("status_by_id", "result_by_id", "info_by_id", "abort_by_id", "unschedule", "get_tasks_by_status"),
    }
    assert promised <= spelled
