"""``secure-queue doctor``: asks every server of a deployment, and says what is wrong, why, and what repairs it."""

from __future__ import annotations

from typing import Annotated

import anyio
import typer

from secure_queue.audit.classify import Classifier
from secure_queue.cli.output import say, show
from secure_queue.cli.target import load_target
from secure_queue.doctor.examine import Patient, examine
from secure_queue.doctor.report import DoctorReport
from secure_queue.doctor.tables import show_report
from secure_queue.keyring import keys_for
from secure_queue.payload.choice import choose_serializer
from secure_queue.redis.connect import hosted
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.topology import Topology
from secure_queue.redis.urls import parse_url
from secure_queue.settings import environment, queue_settings

Where = Annotated[
    str, typer.Argument(metavar="TARGET", help="The worker object, as module:object, or the URL of a deployment.")
]


def doctor(
    target: Where,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as failures.")] = False,
    queue: Annotated[str, typer.Option(help="With a URL: the name of the queue.")] = "default",
) -> None:
    """Ask every server of TARGET whether it is fit for the queue.

    Changes nothing; a task on trial is sent through the queue's slot and removed. Exit code 0: nothing failed. 1: a
    check failed. 2: it could not be checked.
    """
    report = _report(target, queue)
    if json:
        say(report.to_json(strict=strict))
    else:
        show(show_report(report))
    raise typer.Exit(report.exit_code(strict=strict))


def _report(target: str, queue: str) -> DoctorReport:
    if "://" in target:
        return anyio.run(_examined, parse_url(target), queue)
    worker = load_target(target)
    return anyio.run(worker.doctor, backend=worker.anyio_backend, backend_options=worker.anyio_kwargs)


async def _examined(topology: Topology, queue: str) -> DoctorReport:
    """A deployment by its URL; without keys in the environment, what is stored is not looked at."""
    found, settings = environment(), queue_settings(queue, None)
    classifier = None
    if found.keys is not None or found.keys_file is not None:
        ring = keys_for(topology, None, found).ring
        classifier = Classifier(ring, settings.queue_name, choose_serializer("msgpack", None))
    keys = QueueKeys(settings.queue_name, settings.priorities)
    async with hosted(topology) as reachable:
        return await examine(reachable, Patient(settings.queue_name, (keys,), classifier))
