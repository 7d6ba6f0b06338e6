"""The places of the worker tests."""

from __future__ import annotations

from tests.worker.conftest import place

__all__ = ["place"]
