"""What sealing and opening cost, in microseconds of one processor, for each suite and size; no server takes part."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

from secure_queue.payload.ciphers import Suite
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.keys import Key, KeyKind, KeyRing, generate_key
from secure_queue.payload.serializers import MsgpackSerializer

SIZES = {"200 B": 200, "10 kB": 10_000}
NOW_MS = 1_800_000_000_000
TASK_ID = "0123456789abcdef" * 2
BATCHES, SHORTEST_S = 25, 0.004


def costs() -> dict[str, dict[str, float]]:
    """Suite and size → µs to seal, to open (with msgpack), for both, and the least for both."""
    return {f"{suite.word}, {name}": cost(suite, size) for suite in Suite for name, size in SIZES.items()}


def _codec(suite: Suite) -> Codec:
    kind = KeyKind.SEED if suite is Suite.ED25519 else KeyKind.ROOT
    return Codec(KeyRing([Key(generate_key("bench", kind=kind))]), "bench", MsgpackSerializer())


def cost(suite: Suite, size: int) -> dict[str, float]:
    """One line of the table."""
    codec, encrypt = _codec(suite), suite is Suite.AES_256_GCM
    value = MsgpackSerializer().dumps(os.urandom(size))
    jti = os.urandom(16)

    def seal() -> bytes:
        return codec.seal(Purpose.TASK, TASK_ID, "send", b"", value, now_ms=NOW_MS, jti=jti, encrypt=encrypt)

    sealed = seal()
    sealing, least_to_seal = _microseconds(seal)
    opening, least_to_open = _microseconds(lambda: codec.open(sealed, Purpose.TASK, TASK_ID, now_ms=NOW_MS))
    return {
        "seal": round(sealing, 2),
        "open": round(opening, 2),
        "both": round(sealing + opening, 2),
        "least": round(least_to_seal + least_to_open, 2),
    }


def microseconds(call: Callable[[], object]) -> float:
    """The median over the faster batches of processor time."""
    return round(_microseconds(call)[0], 2)


def _microseconds(call: Callable[[], object]) -> tuple[float, float]:
    """The median over the faster batches of processor time, and the least: neighbours on the machine only ever add."""
    times = 1
    while _batch(call, times) < SHORTEST_S:
        times *= 2
    found = sorted(1e6 * _batch(call, times) / times for _ in range(BATCHES))
    return median(found[: BATCHES // 2]), found[0]


def _batch(call: Callable[[], object], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        call()
    return time.process_time() - started
