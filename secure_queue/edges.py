"""What a task depends on: its edges to parents, and the rule that decides by their ends what becomes of it. All pure.

Edges travel in the sealed head of the child and name each parent by id and message id, so that nobody without a key can
add, drop or redirect one. What stands in Redis beside them only says when it is worth looking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, IntEnum, StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from secure_queue.errors import ConfigurationError, Rejected
from secure_queue.names import stored_task_id
from secure_queue.partitions import MOST_PARTITIONS, generated_id

MOST_PARENTS: Final = 2_000
"""So many edges fit the head of a task; more are gathered in groups of groups."""

_JTI_BYTES: Final = 16
_CHILD_SEPARATOR: Final = b"\n"


class On(StrEnum):
    """Which end of a parent lets the child run."""

    SUCCESS = "success"
    FAILURE = "failure"
    END = "end"


class Passes(IntEnum):
    """What the child is given of a parent's result."""

    NOTHING = 0
    VALUE = 1
    """Its first arguments; a tuple is unpacked."""
    LISTED = 2
    """An entry of one list, which is the first argument."""
    INSTEAD = 3
    """If the parent returned, its result is that of the child, which need not run."""


class Fate(Enum):
    """How a parent ended; ``GONE``: it is not stored any more, or never was, so that nobody can tell."""

    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"
    GONE = "gone"


class Edge(NamedTuple):
    """One parent of a task: where it is, which enqueue of its id it is, and what its end means for the child."""

    partition: int
    task_id: str
    jti: bytes
    on: On = On.SUCCESS
    runs_if_gone: bool = False
    passes: Passes = Passes.NOTHING

    def is_met_by(self, fate: Fate) -> bool:
        """Whether the child may run after this end of the parent."""
        if fate is Fate.GONE:
            return self.runs_if_gone
        return self.on is On.END or fate is (Fate.DONE if self.on is On.SUCCESS else Fate.FAILED)


class Lineage(NamedTuple):
    """What a task says of its place in a workflow: the id of the workflow, and its parents."""

    workflow_id: str
    edges: tuple[Edge, ...] = ()

    def to_plain(self) -> list[Any]:
        """Plain data for the head of a task."""
        return [self.workflow_id, [_edge_to_plain(edge) for edge in self.edges]]

    @classmethod
    def from_plain(cls, untrusted: object) -> Lineage:
        """Read it strictly; raises ``Rejected``."""
        match untrusted:
            case [str(workflow_id), list(edges)] if _is_id(workflow_id) and len(edges) <= MOST_PARENTS:
                return cls(workflow_id, tuple(map(_edge_from_plain, edges)))
        raise Rejected("malformed")


_ONS: Final = tuple(On)


def _edge_to_plain(edge: Edge) -> list[Any]:
    generated = edge.task_id == generated_id(edge.jti, edge.partition)
    mode = _ONS.index(edge.on) << 3 | edge.runs_if_gone << 2 | edge.passes
    return [edge.partition, None if generated else edge.task_id, edge.jti, mode]


def _edge_from_plain(untrusted: object) -> Edge:
    match untrusted:
        case [int(partition), None | str() as own_id, bytes(jti), int(mode)] if (
            0 <= partition < MOST_PARTITIONS and len(jti) == _JTI_BYTES and 0 <= mode < len(_ONS) << 3
        ):
            task_id = generated_id(jti, partition) if own_id is None else own_id
            if _is_id(task_id):
                return Edge(partition, task_id, jti, _ONS[mode >> 3], bool(mode & 4), Passes(mode & 3))
    raise Rejected("malformed")


def _is_id(text: str) -> bool:
    return stored_task_id(text.encode("utf-8", "surrogatepass")) is not None


class Wait(NamedTuple):
    """Not all parents have ended."""


class Go(NamedTuple):
    """All edges are met: run."""


class Take(NamedTuple):
    """Do not run: the result is that of the parent at *place*."""

    place: int


class Fail(NamedTuple):
    """Do not run: a parent has failed or is gone."""

    edge: Edge
    fate: Fate


class Skip(NamedTuple):
    """Do not run: a parent was aborted, or succeeded where the child was there for its failure."""

    edge: Edge
    fate: Fate


Decision: TypeAlias = Wait | Go | Take | Fail | Skip


def decide(edges: Sequence[Edge], fates: Sequence[Fate | None]) -> Decision:
    """What becomes of a task whose parents have ended so (None: not yet). One edge that cannot be met decides at once."""
    pairs = list(zip(edges, fates, strict=True))
    for place, (edge, fate) in enumerate(pairs):
        if edge.passes is Passes.INSTEAD and fate is Fate.DONE:
            return Take(place)
    unmet = [(edge, fate) for edge, fate in pairs if fate is not None and not edge.is_met_by(fate)]
    for edge, fate in unmet:
        if fate in (Fate.FAILED, Fate.GONE):
            return Fail(edge, fate)
    if unmet:
        return Skip(*unmet[0])
    return Wait() if None in fates else Go()


def arguments(edges: Sequence[Edge], values: Sequence[Any]) -> list[Any]:
    """What the child is called with before its own arguments, from the values of its parents."""
    first: list[Any] = []
    for edge, value in zip(edges, values, strict=True):
        if edge.passes is Passes.VALUE:
            first += value if type(value) is tuple else (value,)
    listed = [value for edge, value in zip(edges, values, strict=True) if edge.passes is Passes.LISTED]
    return [*first, listed] if listed else first


def spelled(children: Iterable[tuple[int, str]]) -> bytes:
    """Who depends on a task, as it is noted beside it: partition and id of each."""
    return _CHILD_SEPARATOR.join(b"%d:%s" % (partition, task_id.encode()) for partition, task_id in children)


def read_children(untrusted: bytes) -> list[tuple[int, bytes]]:
    """The partitions and ids that *untrusted* spells; what is none is passed over."""
    found = []
    for entry in untrusted.split(_CHILD_SEPARATOR):
        number, _, task_id = entry.partition(b":")
        if number.isdigit() and len(number) <= 2 and int(number) < MOST_PARTITIONS and stored_task_id(task_id):
            found.append((int(number), task_id))
    return found


def edge_policy(on: str, gone: str) -> tuple[On, bool]:
    """Check the words of ``start(on=…, gone=…)``; raises ``ConfigurationError``."""
    if on not in _ONS:
        raise ConfigurationError(f"on= says which end of a parent counts; use one of {', '.join(_ONS)}")
    if gone not in ("fail", "run"):
        raise ConfigurationError("gone= says what to do if a parent is not stored any more; use 'fail' or 'run'")
    return On(on), gone == "run"
