"""What a key is for: patterns of names, moments, and which keys could sign the same message."""

import pytest

from secure_queue.payload.ciphers import Suite
from secure_queue.payload.grants import EVERYTHING, Grants, Reach, Scope, matches
from secure_queue.payload.purposes import Purpose


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        (["*"], "", True),
        (["*"], "any\nthing", True),
        (["send_*"], "send_", True),
        (["send_*"], "resend_it", False),
        (["*.mail"], "app.mail", True),
        (["*.mail"], "appxmail", False),
        (["a*b*c"], "a1b2c", True),
        (["a*b*c"], "acb", False),
        (["[ab]?"], "a1", False),
        (["[ab]?"], "[ab]?", True),
        (["one", "two"], "two", True),
        (["one", "two"], "one|two", False),
    ],
)
def test_a_star_stands_for_anything_and_all_else_for_itself(patterns: list[str], name: str, expected: bool) -> None:
    assert matches(patterns, name) is expected


def test_grants_say_where_what_and_how_long() -> None:
    grants = Grants(frozenset({Purpose.TASK}), ("emails",), ("send",), 1000)
    assert grants.permit_place(Purpose.TASK, "emails")
    assert not grants.permit_place(Purpose.RESULT, "emails") and not grants.permit_place(Purpose.TASK, "email")
    assert grants.permit_message("send", 1000)
    assert not grants.permit_message("send", 1001) and not grants.permit_message("sends", 0)
    assert all(EVERYTHING.permit_place(purpose, "any") for purpose in Purpose)


def test_a_scope_covers_its_place_alone() -> None:
    scope = Scope(bytes(8), "emails", Suite.HMAC_SHA256, Purpose.TASK)
    assert scope.covers(b"emails", 1, 1)
    assert not any(scope.covers(*place) for place in ((b"email", 1, 1), (b"emails", 2, 1), (b"emails", 1, 2)))
    assert Scope(bytes(8), "emails").covers(b"emails", 2, 6)


HMAC, BOTH = frozenset({Suite.HMAC_SHA256}), frozenset({Suite.HMAC_SHA256, Suite.AES_256_GCM})
AES, PAIR = frozenset({Suite.AES_256_GCM}), frozenset({Suite.ED25519})
TASK, RESULT = frozenset({Purpose.TASK}), frozenset({Purpose.RESULT})


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Reach(BOTH, TASK, ("*",)), Reach(PAIR, TASK, ("*",)), True),
        (Reach(HMAC, TASK, ("a",)), Reach(PAIR, TASK, ("a", "b")), True),
        (Reach(HMAC, TASK, ("a",)), Reach(PAIR, TASK, ("b",)), False),
        (Reach(HMAC, TASK, ("a",)), Reach(PAIR, TASK, ("b*",)), True),
        (Reach(HMAC, TASK, ("a",)), Reach(AES, TASK, ("a",)), False),
        (Reach(HMAC, TASK, ("a",)), Reach(HMAC, RESULT, ("a",)), False),
    ],
)
def test_two_keys_overlap_where_both_could_sign_one_message(one: Reach, other: Reach, expected: bool) -> None:
    assert one.overlaps(other) is expected
    assert other.overlaps(one) is expected
