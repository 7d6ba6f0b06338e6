"""A target for commands that run inside the process of the suite; each test puts its own worker object here."""

from __future__ import annotations

from secure_queue import Worker

worker: Worker[None] = Worker("memory://")
