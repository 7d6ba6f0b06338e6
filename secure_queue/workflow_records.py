"""The sealed description of a workflow: its tasks and their edges, under the id of its last task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from secure_queue.clock import now_ms
from secure_queue.edges import Edge, Lineage
from secure_queue.errors import Rejected
from secure_queue.names import stored_task_id
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.serializers import MSGPACK_ID, pack_plain, unpack_plain

_FUNCTION: Final = "secure_queue.workflow"


class Node(NamedTuple):
    """A task of a workflow: which enqueue of its id it is, and what it depends on."""

    task_id: str
    jti: bytes
    function: str
    edges: tuple[Edge, ...]


def seal_workflow(codec: Codec, workflow_id: str, nodes: Sequence[Node], lifetime_s: int) -> bytes:
    """Seal the description of a workflow; raises ``KeyRingError`` or, if it is too large, ``UnserializableValue``."""
    plain = [[node.task_id, node.jti, node.function, Lineage(workflow_id, node.edges).to_plain()] for node in nodes]
    return codec.seal(
        Purpose.STATE,
        workflow_id,
        _FUNCTION,
        b"",
        pack_plain(plain),
        now_ms=now_ms(),
        jti=os.urandom(16),
        lifetime_s=lifetime_s,
        serializer_id=MSGPACK_ID,
    )


def open_workflow(codec: Codec, workflow_id: str, untrusted: bytes | int) -> list[Node]:
    """Read the description of a workflow; raises ``Rejected``."""
    if not isinstance(untrusted, bytes):
        raise Rejected("too-large")
    found = codec.verify(untrusted, Purpose.STATE, workflow_id, now_ms=now_ms(), function=_FUNCTION)
    nodes = unpack_plain(found.value)
    if type(nodes) is not list:
        raise Rejected("malformed")
    return [_node(node) for node in nodes]


def _node(untrusted: object) -> Node:
    match untrusted:
        case [str(task_id), bytes(jti), str(function), lineage] if stored_task_id(task_id.encode(errors="replace")):
            return Node(task_id, jti, function, Lineage.from_plain(lineage).edges)
    raise Rejected("malformed")
