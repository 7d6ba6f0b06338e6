"""Producers that can only sign and workers that can only verify: each does its own work, and none does another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from secure_queue import KeyRingError, Rejected, Task, Worker
from secure_queue.clock import now_ms
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.codec import Codec
from secure_queue.payload.grants import Grants
from secure_queue.payload.key_tables import StoredKey, table_text
from secure_queue.payload.keys import (
    Key,
    KeyEntry,
    KeyKind,
    KeyRing,
    KeyState,
    format_key,
    generate_key,
    public_key,
    scoped_key,
)
from secure_queue.payload.purposes import Purpose
from secure_queue.payload.serializers import MsgpackSerializer
from secure_queue.settings import KEYS_FILE_VARIABLE, KEYS_VARIABLE
from secure_queue.tasks import RegisteredTask
from tests.servers import PATIENCE, eventually
from tests.worker.places import QUEUE, Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

TASKS, RESULTS, ORDERS = (
    Grants(frozenset({Purpose.TASK}), queues=(QUEUE,), functions=("send_*",)),
    Grants(frozenset({Purpose.RESULT})),
    Grants(frozenset({Purpose.CONTROL, Purpose.RESULT})),
)


class Company:
    """A producer, a worker and an operator, each with the key file that it needs and no more."""

    def __init__(self, place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch, *, tells: bool = False) -> None:
        self.place, self.folder, self.monkeypatch = place, folder, monkeypatch
        monkeypatch.delenv(KEYS_VARIABLE, raising=False)
        web, crew, boss = (generate_key(name, kind=KeyKind.SEED) for name in ("web", "crew", "boss"))
        signs = {"web": (web, TASKS), "crew": (crew, RESULTS), "boss": (boss, ORDERS)}
        if tells:
            signs = {who: (pair, _telling(grants)) for who, (pair, grants) in signs.items()}
        self.stolen = Codec(KeyRing([Key(web)]), QUEUE, MsgpackSerializer())
        """The seed of the producer in the hands of somebody who does not keep to its grants."""
        self.runs: list[int] = []
        self.workers = {who: self._worker(who, signs) for who in signs}
        self.send = {who: self._declare(worker, "send_mail") for who, worker in self.workers.items()}
        self.pay = {who: self._declare(worker, "pay") for who, worker in self.workers.items()}

    def _worker(self, who: str, signs: dict[str, tuple[KeyEntry, Grants]]) -> Worker[Any]:
        file = self.folder / f"{who}.toml"
        file.touch(mode=0o600)
        own, grants = signs[who]
        entries = [KeyEntry(own.name, own.state, own.material, own.kind, grants=grants)]
        entries += [public_key(pair, granted) for name, (pair, granted) in signs.items() if name != who]
        file.write_text("".join(table_text(StoredKey(entry)) for entry in entries))
        self.monkeypatch.setenv(KEYS_FILE_VARIABLE, str(file))
        return self.place.worker(signing_secret=None)

    def _declare(self, worker: Worker[Any], name: str) -> RegisteredTask[..., Any, Any]:
        @worker.task(name=name)
        async def task(number: int) -> int:
            self.runs.append(number)
            return number

        return task


def _telling(grants: Grants) -> Grants:
    """The same grants, and those by which a process shows itself and writes into the audit log."""
    purposes = grants.purposes | {Purpose.STATE, Purpose.AUDIT}
    return replace(grants, purposes=purposes, functions=(*grants.functions, "secure_queue.*"))


@pytest.fixture
def company(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """All of them on one queue."""
    return Company(place, tmp_path, monkeypatch)


async def put_aside(place: Place, task_id: str) -> str:
    async def is_there() -> bool:
        return task_id.encode() in await place.quarantine()

    await eventually(is_there)
    return (await place.quarantine())[task_id.encode()]


async def test_tasks_go_from_a_seed_to_a_public_key_and_results_come_back_the_same_way(company: Company) -> None:
    async with running(company.workers["crew"]), company.workers["web"]:
        task = await company.send["web"].enqueue(1)
        assert (await task.result(timeout=PATIENCE)).result == 1
        assert (await task.status()).value == "done"
    assert company.runs == [1]


@pytest.mark.attack(48)
async def test_a_function_that_the_producer_may_not_call_is_not_called(company: Company, place: Place) -> None:
    async with running(company.workers["crew"]), company.workers["web"]:
        task = await company.pay["web"].enqueue(1)
        assert await put_aside(place, task.id) == "key-not-authorised"
        assert (await (await company.send["web"].enqueue(2)).result(timeout=PATIENCE)).result == 2
    assert company.runs == [2]


@pytest.mark.attack(49)
async def test_a_worker_can_neither_make_a_task_nor_bring_one_back(company: Company) -> None:
    async with company.workers["crew"] as crew:
        with pytest.raises(KeyRingError, match="may sign a task here"):
            await company.send["crew"].enqueue(1)
        with pytest.raises(KeyRingError, match="may sign a task here"):
            await crew.enqueue_many([company.pay["crew"].enqueue(1)])
        assert await crew.queue_size() == 0


@pytest.mark.attack(36)
async def test_an_order_to_stop_counts_if_an_operator_has_signed_it_and_not_if_a_producer_has(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[int] = []
    crew, place = company.workers["crew"], company.place

    @crew.task(name="send_slowly")
    async def slowly() -> str:
        started.append(1)
        await anyio.sleep(PATIENCE)
        return "not aborted"

    async with running(crew), company.workers["web"] as web, company.workers["boss"] as boss:
        task = await company._declare(web, "send_slowly").enqueue()

        async def has_started() -> bool:
            return bool(started)

        await eventually(has_started)
        with pytest.raises(KeyRingError, match="may sign a"):
            await task.abort(timeout=1)
        place_of_it = (Purpose.CONTROL, task.id, "send_slowly", b"", b"")
        forged = company.stolen.seal(*place_of_it, now_ms=now_ms(), jti=task.jti, ref=task.jti)
        await place.link.command("HSET", place.keys.aborts, task.id, forged)

        async def is_ignored() -> bool:
            return f"an abort mark for {task.id} was ignored: key-not-authorised" in caplog.text

        await eventually(is_ignored)
        assert await boss.abort_by_id(task.id, timeout=PATIENCE)
        assert (await task.result(timeout=PATIENCE)).status.value == "aborted"


async def test_pairs_that_may_sign_it_show_their_processes_and_write_the_audit_log(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = Company(place, tmp_path, monkeypatch, tells=True)
    async with running(company.workers["crew"]), company.workers["web"], company.workers["boss"] as boss:
        task = await company.pay["web"].enqueue(1)
        assert await put_aside(place, task.id) == "key-not-authorised"

        async def all_are_shown() -> bool:
            return len([one for one in await boss.processes() if not one.problem]) == 4  # the crew in both its roles

        async def is_noted() -> bool:
            report = boss.check_log(await boss.audit_log())
            assert report.problems == []
            return any(event.facts["event"] == "quarantined" for event in report.events)

        await eventually(all_are_shown)
        await eventually(is_noted)


async def test_what_a_worker_cannot_write_into_the_audit_log_it_says_once(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(company.workers["crew"]), company.workers["web"]:
        for number in range(3):
            await put_aside(company.place, (await company.pay["web"].enqueue(number)).id)
    assert caplog.text.count("security events cannot be sealed for the audit log") == 1


async def test_a_result_that_a_producer_has_signed_is_believed_by_nobody(company: Company, place: Place) -> None:
    async with company.workers["web"] as web:
        task: Task[Any] = await company.send["web"].enqueue(1)
        with pytest.raises(KeyRingError, match="may sign a result"):
            web._codec.seal(Purpose.RESULT, task.id, "send_mail", b"", b"", now_ms=0, jti=task.jti)
        stored: Any = await place.link.command("HGET", place.keys.bucket(task.id.encode()), task.id)
        await place.link.command("SET", place.keys.result(task.id.encode()), stored)
        with pytest.raises(Rejected, match="wrong-purpose"):
            await task.result(timeout=PATIENCE)


def echoing(place: Place, keys: str | list[str]) -> Worker[Any]:
    worker = place.worker(signing_secret=keys)

    @worker.task(name="echo")
    async def echo(text: str) -> str:
        return text

    return worker


@pytest.mark.parametrize("encrypt", [False, True])
async def test_a_producer_with_a_key_for_tasks_alone_enqueues_and_cannot_read_the_answer(
    place: Place, encrypt: bool
) -> None:
    root = generate_key("root")
    suite = Suite.AES_256_GCM if encrypt else Suite.HMAC_SHA256
    scoped = scoped_key(root, "web", QUEUE, suite, Purpose.TASK)
    worker, producer = echoing(place, format_key(root)), echoing(place, format_key(scoped))
    async with running(worker), producer:
        task = await producer.registry["echo"].enqueue("canary")
        assert (await worker.result_by_id(task.id, timeout=PATIENCE)).result == "canary"
        with pytest.raises(Rejected, match=r"unknown-key|suite-key-mismatch"):
            await task.result(timeout=PATIENCE)
        with pytest.raises(KeyRingError, match="may sign a result"):
            await producer.run_async()


async def test_a_producer_that_may_read_answers_holds_one_more_key_that_only_verifies(place: Place) -> None:
    root = generate_key("root")
    answers = scoped_key(root, "answers", QUEUE, Suite.HMAC_SHA256, Purpose.RESULT)
    reads = KeyEntry("answers", KeyState.VERIFY, answers.material, answers.kind, answers.scope)
    writes = scoped_key(root, "web", QUEUE, Suite.HMAC_SHA256, Purpose.TASK)
    worker, producer = echoing(place, format_key(root)), echoing(place, [format_key(writes), format_key(reads)])
    async with running(worker), producer:
        task = await producer.registry["echo"].enqueue("canary")
        assert (await task.result(timeout=PATIENCE)).result == "canary"


async def test_a_worker_that_cannot_sign_tasks_leaves_its_schedules_to_others_and_runs_on(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    crew = company.workers["crew"]

    @crew.every(1, schedule_id="tick")
    async def tick() -> None: ...

    async def has_said_so() -> bool:
        return "the schedule tick cannot fire" in caplog.text

    async with running(crew), company.workers["web"]:
        await eventually(has_said_so)
        assert (await (await company.send["web"].enqueue(1)).result(timeout=PATIENCE)).result == 1


async def test_a_process_whose_key_is_for_one_purpose_says_once_that_it_cannot_be_shown(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.oversight.INTERVAL_S", 0.01)
    scoped = scoped_key(generate_key("root"), "web", QUEUE, Suite.HMAC_SHA256, Purpose.TASK)
    async with echoing(place, format_key(scoped)) as producer:
        await eventually(lambda: told(caplog))
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            await producer.registry["echo"].enqueue("good")
        assert await place.link.command("EXISTS", place.keys.presence) == 0
    assert [record.getMessage() for record in caplog.records].count(caplog.records[0].getMessage()) == 1
    assert "may sign a state here" in caplog.text


async def told(caplog: pytest.LogCaptureFixture) -> bool:
    return "`keys status` cannot show this process" in caplog.text
