"""For the tests of applications: a worker object in memory, a clock that can be moved, and connections that break."""

from secure_queue.testing.enqueued import Enqueued
from secure_queue.testing.faults import Faults
from secure_queue.testing.stopped_clock import StoppedClock
from secure_queue.testing.worker import TestWorker

__all__ = ["Enqueued", "Faults", "StoppedClock", "TestWorker"]
