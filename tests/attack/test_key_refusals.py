"""Nothing that is not a random key starts a queue, and each refusal says why and how to make a good key."""

import base64
import secrets

import pytest

from secure_queue.errors import KeyRingError
from secure_queue.payload.key_files import load_key_ring
from secure_queue.payload.keys import KeyState, format_key, generate_key

GOOD = format_key(generate_key("good"))
BODY = GOOD.rsplit(":", 1)[0]


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


REFUSED = {
    "one character": ("x", "passphrase"),
    "one byte": (b"x", "passphrase"),
    "a passphrase": ("MY-SECRET-KEY", "passphrase"),
    "a sentence of 43 characters": ("correct-horse-battery-staple-correct-horses", "passphrase"),
    "32 hex digits": (secrets.token_hex(16), "passphrase"),
    "64 hex digits": (secrets.token_hex(32), "passphrase"),
    "padded base64": (base64.b64encode(secrets.token_bytes(32)).decode(), "passphrase"),
    "31 bytes": (b"\xff" + secrets.token_bytes(30), "exactly 32"),
    "33 bytes": (b"\xff" + secrets.token_bytes(32), "exactly 32"),
    "printable bytes": (b"0123456789abcdefghijklmnopqrstuv", "printable"),
    "printable bytes in base64url": (base64url(b"0123456789abcdefGHIJKLMNOPQRSTUV"), "printable"),
    "zeros": (bytes(32), "repeats one byte"),
    "all equal": (b"\xaa" * 32, "repeats one byte"),
    "few distinct bytes": (bytes(range(200, 216)) * 2, "fewer than 20 distinct"),
    "the published vector": (bytes(range(32)), "published test vector"),
    "wrong check digits": (GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1"), "check digits"),
    "a key cut short": (GOOD[:-12], "cut short"),
    "a key with one character changed": (GOOD.replace(":good:", ":goof:"), "check digits"),
    "an unknown kind": (GOOD.replace(":hs:", ":es:"), "check digits"),
    "another prefix": (GOOD.replace("sqk1", "sqk2"), "passphrase"),
    "two actives in one text": (f"{GOOD},{format_key(generate_key('other'))}", "more than one key is active"),
    "one key twice": (f"{GOOD},{GOOD}", "more than one key is active"),
}


@pytest.mark.attack(42)
@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_key_is_refused_with_a_named_reason(case: str) -> None:
    bad, reason = REFUSED[case]
    with pytest.raises(KeyRingError, match=reason) as caught:
        load_key_ring(bad, environment_keys=None, keys_file=None)
    assert "secure-queue keys generate" in str(caught.value) or "exactly one signs" in str(caught.value)


@pytest.mark.parametrize("case", [name for name, (bad, _) in REFUSED.items() if len(bad) > 12])
def test_a_refusal_does_not_repeat_the_key(case: str) -> None:
    bad, _ = REFUSED[case]
    with pytest.raises(KeyRingError) as caught:
        load_key_ring(bad, environment_keys=None, keys_file=None)
    shown = bad if isinstance(bad, str) else repr(bad)[2:-1]
    assert shown not in str(caught.value)


def signed(body: str) -> str:
    from hashlib import sha256

    return f"{body}:{sha256(body.encode()).hexdigest()[:8]}"


@pytest.mark.attack(42)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (BODY.replace(":hs:", ":hx:"), "kind"),
        (BODY.replace(":hs:", ":hq:"), "16 hex digits"),
        (BODY.replace(":active:hs:", ":active:ep:"), "cannot sign|small order"),
        (BODY.replace(":active:", ":primary:"), "key state"),
        (BODY.replace(":good:", "::"), "key name"),
        (BODY.replace(":good:", ":go od:"), "key name"),
        (BODY[:-1], "43 characters"),
        (BODY[:-43] + base64url(bytes(32)), "repeats one byte"),
        (BODY + ":more", "too many fields"),
    ],
)
def test_right_check_digits_do_not_save_a_wrong_key(body: str, reason: str) -> None:
    with pytest.raises(KeyRingError, match=reason):
        load_key_ring(signed(body), environment_keys=None, keys_file=None)


def test_a_second_spelling_of_the_same_bytes_is_refused() -> None:
    last = BODY[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[alphabet.index(last) ^ 1]
    with pytest.raises(KeyRingError, match="43 characters"):
        load_key_ring(signed(BODY[:-1] + other), environment_keys=None, keys_file=None)


def test_random_keys_are_taken() -> None:
    for _ in range(500):
        load_key_ring(secrets.token_bytes(32), environment_keys=None, keys_file=None)
        load_key_ring(secrets.token_urlsafe(32), environment_keys=None, keys_file=None)


def test_a_revoked_key_alone_is_no_key() -> None:
    with pytest.raises(KeyRingError, match="no key is active"):
        load_key_ring(format_key(generate_key("gone", KeyState.REVOKED)), environment_keys=None, keys_file=None)
