"""Keys, places and values that several payload tests share."""

from __future__ import annotations

from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.keys import Key, KeyEntry, KeyRing, KeyState
from secure_queue.payload.serializers import MsgpackSerializer
from secure_queue.secret import Secret

NOW_MS = 1_800_000_000_000
JTI = bytes(range(16))
REF = bytes(range(16, 32))
VECTOR_ROOT = Secret(bytes(range(32)))
VECTOR = bytes.fromhex(
    "c153510201010100fe6eefada229b8c301a3185c50000000000000093a800000000000000000000000000000000006656d61696c73"
    "0274310473656e6493010203e56ec6d9334b44d0dbffce6750192e5094a364f05b2e316f338aa1acd1c04fda"
)


def vector_ring() -> KeyRing:
    """The published key, which only a test may use."""
    return KeyRing([Key.without_strength_check(KeyEntry("vector", KeyState.ACTIVE, VECTOR_ROOT))])


def new_codec(ring: KeyRing | None = None, queue: str = "emails") -> Codec:
    return Codec(ring or KeyRing.of_new_key(), queue, MsgpackSerializer())


def seal_task(codec: Codec, value: object = (1, 2, 3), **changes: object) -> bytes:
    """Seal a task at the usual place; keyword arguments change it."""
    arguments: dict[str, object] = {"now_ms": NOW_MS, "jti": JTI} | changes
    purpose = arguments.pop("purpose", Purpose.TASK)
    task_id = arguments.pop("task_id", "t1")
    function = arguments.pop("function", "send")
    head = arguments.pop("head", b"")
    packed = MsgpackSerializer().dumps(list(value) if isinstance(value, tuple) else value)
    return codec.seal(purpose, task_id, function, head, packed, **arguments)  # type: ignore[arg-type]
