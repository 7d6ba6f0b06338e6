"""A secret shows nothing."""

import copy
import pickle

import pytest

from secure_queue.secret import Secret

CANARY = b"canary-canary-canary-canary-1234"


def test_a_secret_prints_as_a_placeholder() -> None:
    secret = Secret(CANARY)
    assert {repr(secret), str(secret), f"{secret}", f"{secret:>40}"} == {"<secret>"}


def test_a_secret_reveals_its_bytes_when_asked_by_name() -> None:
    assert Secret(CANARY).reveal() == CANARY


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_secret_refuses_to_be_duplicated(leave) -> None:
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        leave(Secret(CANARY))


def test_secrets_compare_by_content_and_only_with_secrets() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(b"other")
    assert Secret(CANARY) != CANARY


def test_a_secret_has_no_hash_and_no_dict() -> None:
    with pytest.raises(TypeError):
        hash(Secret(CANARY))
    assert not hasattr(Secret(CANARY), "__dict__")
