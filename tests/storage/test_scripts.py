"""What all scripts share, and that the guard of this suite against undeclared keys does guard."""

from __future__ import annotations

from collections import Counter
from importlib import resources

import pytest

from secure_queue.errors import SecureQueueError
from secure_queue.redis.keys import BUCKETS, bucket_of
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Storage
from tests.connections.scripts import script
from tests.servers import PATIENCE
from tests.storage.test_repair import VERBS

pytestmark = pytest.mark.anyio

PRELUDE = resources.files("secure_queue.redis").joinpath("lua", "_prelude.lua").read_text("utf-8")


async def test_lua_and_python_agree_about_buckets(link: Link) -> None:
    rule = script(PRELUDE + "local r = {} for i, id in ipairs(ARGV) do r[i] = bucket_of(id) end return r")
    ids = [b"", b"\0", b"\xff", b"a", *(bytes((a, b)) for a in range(0, 256, 5) for b in range(0, 256, 3)), b"x" * 999]
    assert await link.run(rule, [], ids, PATIENCE) == [bucket_of(task_id) for task_id in ids]


async def test_our_own_ids_use_all_buckets_alike() -> None:
    load = Counter(bucket_of(b"%032x" % number) for number in range(256))
    assert len(load) == BUCKETS
    assert max(load.values()) <= 2 * 256 / BUCKETS


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("link", ["server"], indirect=True)
async def test_a_key_that_is_not_declared_is_refused(storage: RedisStorage) -> None:
    """So each verb of this suite is known to declare every key that it touches."""
    sneaky = script("return redis.call('GET', KEYS[1] .. ':more')")
    with pytest.raises(SecureQueueError):
        await storage._link.run(sneaky, [b"{q}:key"], [], PATIENCE)


async def test_every_verb_of_the_contract_that_runs_a_script_is_tried_with_misfits() -> None:
    others = {"listen", "scannable", "evidence"}  # no script; the last two are tried by themselves
    others |= {"in_trouble", "claim_when_woken"}  # the script of claim, and whatever goes wrong is left to claim
    verbs = {name for name in vars(Storage) if not name.startswith("_")} - others
    assert verbs <= {name.split()[0] for name in VERBS}
