"""The rules of a rotation: each step knows whether there is anything to do, and when it would do harm."""

from __future__ import annotations

import pytest

from secure_queue.audit.report import KeyUse
from secure_queue.errors import KeyRingError
from secure_queue.payload.keys import KeyRing, KeyState
from secure_queue.presence import Process
from secure_queue.rotation import agrees, must_distribute, must_promote, must_retire, not_ready, still_needed


def test_each_step_is_done_once() -> None:
    assert must_distribute(None, "n")
    assert not must_distribute(KeyState.VERIFY, "n") and not must_distribute(KeyState.ACTIVE, "n")
    assert must_promote(KeyState.VERIFY, "n") and not must_promote(KeyState.ACTIVE, "n")
    assert must_retire(KeyState.VERIFY, "n") and not must_retire(KeyState.REVOKED, "n")


def test_steps_that_would_do_harm_are_refused() -> None:
    with pytest.raises(KeyRingError, match="another --name"):
        must_distribute(KeyState.REVOKED, "n")
    with pytest.raises(KeyRingError, match="may have leaked"):
        must_promote(KeyState.REVOKED, "n")
    with pytest.raises(KeyRingError, match="first `secure-queue keys rotate promote`"):
        must_retire(KeyState.ACTIVE, "n")


def test_a_key_is_promoted_only_when_everybody_knows_it() -> None:
    knows = Process("a", keys=(("k", "verify"),))
    leads = Process("b", keys=(("k", "active"),))
    other = Process("c", keys=(("x", "active"),))
    revoked = Process("d", keys=(("k", "revoked"),))
    unread = Process("e", problem="unknown-key")
    assert not_ready([knows, leads], "k") == []
    assert not_ready([knows, other, revoked, unread], "k") == ["c", "d", "e"]


def test_a_key_is_retired_only_after_audits_that_say_yes() -> None:
    yes, no = KeyUse("k", "verify", retirable="yes"), KeyUse("k", "verify", retirable="no: 3 payloads")
    assert still_needed([yes, yes]) == ""
    assert still_needed([yes, no]) == still_needed([no, yes]) == "no: 3 payloads"


def test_agreement_is_about_every_key_and_its_state() -> None:
    ring = KeyRing.of_new_key()
    key_id = ring.active.key_id.hex()
    assert agrees(Process("a", keys=((key_id, "active"),)), ring)
    assert not agrees(Process("a", keys=((key_id, "verify"),)), ring)
    assert not agrees(Process("a", keys=((key_id, "active"), ("more", "verify"))), ring)
    assert not agrees(Process("a", keys=((key_id, "active"),), problem="expired"), ring)
