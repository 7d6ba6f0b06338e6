"""Reads a pickle as a listing of opcodes, without loading it, and says what loading it would look up and call.

An allowlist and a symbolic stack over ``pickletools.genops``, which executes nothing. Whatever the scan does not
understand it refuses. It does not see pickles inside bytes, nesting that goes through the memo, nor how long a small
pickle takes to hash (28 nested tuples as a dict key are 63 bytes and seconds of work).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Final, NamedTuple

GlobalName = tuple[str, str]

MAX_OPCODES: Final = 200_000
MAX_MEMO_INDEX: Final = 100_000
MAX_DEPTH: Final = 64

_EXTENSIONS: Final = frozenset({"EXT1", "EXT2", "EXT4"})
_REFUSED: Final = _EXTENSIONS | frozenset({"PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER", "INST", "OBJ"})
_STRINGS: Final = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
_FILLS: Final = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_CALLS: Final = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"})


@dataclass(frozen=True, slots=True)
class PickleReport:
    """What a scan found. ``reason`` is empty exactly when nothing speaks against loading."""

    reason: str
    globals: frozenset[GlobalName]
    refused_globals: frozenset[GlobalName]
    calls: tuple[str, ...]
    opcodes: int
    depth: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.reason


class _Item(NamedTuple):
    """A value on the symbolic stack: how deep it is, and its text or global name where that is known."""

    depth: int = 1
    text: str | None = None
    name: GlobalName | None = None


class _Refused(Exception):
    """The scan stops here; the argument is the reason word."""


_MARK: Final = _Item(0)


def scan_pickle(data: bytes, allow: Set[GlobalName]) -> PickleReport:
    """Scan *data* against the allowed ``(module, qualified name)`` pairs; never raises and never loads."""
    machine = _Machine()
    try:
        reason = machine.run(data)
    except _Refused as refusal:
        reason = str(refusal)
    except Exception:  # genops raises a dozen types for bytes that are no pickle, and so does a stack that runs dry
        reason = "unparseable"
    refused = frozenset(machine.globals - allow)
    return PickleReport(
        reason=reason or ("global-not-allowed" if refused else ""),
        globals=frozenset(machine.globals),
        refused_globals=refused,
        calls=tuple(machine.calls),
        opcodes=machine.opcodes,
        depth=machine.depth,
    )


def uses_extension_registry(data: bytes) -> bool:
    """Whether a pickle asks the registry of ``copyreg``, which answers by number; also true for what is no pickle."""
    try:
        return any(opcode.name in _EXTENSIONS for opcode, _, _ in pickletools.genops(data))
    except Exception:
        return True


def _deepest(items: list[_Item]) -> int:
    return max((item.depth for item in items), default=0)


class _Machine:
    """Runs the opcodes on symbols."""

    def __init__(self) -> None:
        self.globals: set[GlobalName] = set()
        self.calls: list[str] = []
        self.opcodes = 0
        self.depth = 0
        self._stack: list[_Item] = []
        self._memo: dict[int, _Item] = {}

    def run(self, data: bytes) -> str:
        end, last = 0, ""
        for opcode, argument, position in pickletools.genops(data):
            self._count()
            self._step(opcode, argument)
            last, end = opcode.name, (position or 0) + 1
        return "" if last == "STOP" and end == len(data) else "trailing-bytes"

    def _count(self) -> None:
        self.opcodes += 1
        if self.opcodes > MAX_OPCODES:
            raise _Refused("too-many-opcodes")

    def _step(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        name = opcode.name
        if name in _REFUSED:
            raise _Refused(f"opcode-{name}")
        special = _SPECIAL.get(name)
        if special is not None:
            special(self, argument)
        elif name in _STRINGS:
            self._stack.append(_Item(text=str(argument)))
        else:
            self._apply(opcode)

    def _apply(self, opcode: pickletools.OpcodeInfo) -> None:
        """Any other opcode: take what it takes, and put back what it makes, one level deeper."""
        taken: list[_Item] = []
        before = opcode.stack_before
        if pickletools.markobject in before:
            while (item := self._stack.pop()) is not _MARK:
                taken.append(item)
            before = before[: before.index(pickletools.markobject)]
        taken += [self._pop() for _ in before]
        if opcode.name in _CALLS:
            called = taken[-1].name
            self.calls.append(f"{opcode.name} {'.'.join(called) if called else '?'}")
        if opcode.name in _FILLS:
            container = taken.pop()
            self._push_deeper(max(container.depth, _deepest(taken) + 1), 1)
        elif opcode.stack_after:
            self._push_deeper(_deepest(taken) + 1, len(opcode.stack_after))

    def _push_deeper(self, depth: int, count: int) -> None:
        self.depth = max(self.depth, depth)
        if depth > MAX_DEPTH:
            raise _Refused("too-deep")
        self._stack += [_Item(depth)] * count

    def _pop(self) -> _Item:
        item = self._stack.pop()
        if item is _MARK:
            raise _Refused("unparseable")
        return item

    def _found(self, name: GlobalName) -> None:
        self.globals.add(name)
        self._stack.append(_Item(name=name))

    def _global(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self._found((module, name))

    def _stack_global(self, argument: object) -> None:
        name, module = self._pop().text, self._pop().text
        if name is None or module is None:
            raise _Refused("computed-global")
        self._found((module, name))

    def _put(self, argument: object) -> None:
        index = int(str(argument))
        if index > MAX_MEMO_INDEX:
            raise _Refused("memo-index")
        self._memo[index] = self._stack[-1]

    def _memoize(self, argument: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, argument: object) -> None:
        self._stack.append(self._memo[int(str(argument))])

    def _mark(self, argument: object) -> None:
        self._stack.append(_MARK)

    def _duplicate(self, argument: object) -> None:
        self._stack.append(self._stack[-1])

    def _drop(self, argument: object) -> None:
        self._stack.pop()

    def _drop_to_mark(self, argument: object) -> None:
        while self._stack.pop() is not _MARK:
            pass


_SPECIAL: Final[dict[str, Callable[[_Machine, object], None]]] = {
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "PUT": _Machine._put,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._memoize,
    "GET": _Machine._get,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "MARK": _Machine._mark,
    "DUP": _Machine._duplicate,
    "POP": _Machine._drop,
    "POP_MARK": _Machine._drop_to_mark,
}
