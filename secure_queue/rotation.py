"""The rules of changing keys without downtime: distribute first, promote later, retire last. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from secure_queue.audit.report import KeyUse
from secure_queue.errors import KeyRingError
from secure_queue.payload.keys import KeyRing, KeyState
from secure_queue.presence import Process

ACCEPTED = (KeyState.ACTIVE.value, KeyState.VERIFY.value)


def must_distribute(state: KeyState | None, name: str) -> bool:
    """Whether a new key of that name must be made, or is there already; a revoked one may have leaked."""
    if state is KeyState.REVOKED:
        raise KeyRingError(f"{name} is revoked; give the new key another --name")
    return state is None


def must_promote(state: KeyState, name: str) -> bool:
    """Whether a key must be made the one that signs, or is it already."""
    if state is KeyState.REVOKED:
        raise KeyRingError(f"{name} is revoked, and may have leaked; `secure-queue keys rotate distribute` a new one")
    return state is KeyState.VERIFY


def must_retire(state: KeyState, name: str) -> bool:
    """Whether a key that only verifies must be revoked, or is revoked already."""
    if state is KeyState.ACTIVE:
        raise KeyRingError(f"{name} signs; first `secure-queue keys rotate promote` the key that follows it")
    return state is KeyState.VERIFY


def not_ready(processes: Iterable[Process], key_id: str) -> list[str]:
    """The processes that would put aside what this key signs, or whose word cannot be read."""
    return [process.name for process in processes if process.problem or process.state_of(key_id) not in ACCEPTED]


def still_needed(uses: Iterable[KeyUse | None]) -> str:
    """Why a key cannot be retired after these audits, one for each; nothing if it can."""
    return next((use.retirable for use in uses if use is not None and use.retirable != "yes"), "")


def agrees(process: Process, ring: KeyRing) -> bool:
    """Whether a process holds exactly the keys of *ring*, in their states."""
    return not process.problem and dict(process.keys) == {key.key_id.hex(): key.state.value for key in ring.keys}
