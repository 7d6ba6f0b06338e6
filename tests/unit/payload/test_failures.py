"""An exception becomes data whatever it does, and data becomes an exception that nobody else chose."""

import dataclasses

import pytest

from secure_queue.errors import Rejected, TaskFailed
from secure_queue.payload.failures import Cause, Failure, describe, from_plain, rebuild, type_name
from secure_queue.payload.serializers import MsgpackSerializer


class AppError(Exception):
    pass


def raised(error: BaseException) -> BaseException:
    local_canary = "canary-local-value"  # noqa: F841 -- must not show in the traceback
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_exception_is_described_by_name_message_and_traceback() -> None:
    failure = describe(raised(AppError("it broke")))
    assert failure.type_name == f"{__name__}.AppError"
    assert failure.message == "it broke"
    assert "raise error" in failure.traceback
    assert __file__ in failure.traceback


def test_builtin_exceptions_go_by_their_bare_name() -> None:
    assert describe(ValueError("x")) == Failure("ValueError", "x", "", ())


def test_the_traceback_shows_no_local_values_and_no_message() -> None:
    failure = describe(raised(AppError("canary-message")))
    assert "canary-local-value" not in failure.traceback.replace('"canary-local-value"', "")
    assert "canary-message" not in failure.traceback


def test_causes_contexts_and_members_of_groups_are_kept_nearest_first() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise AppError("outer") from error
    except AppError as error:
        chained = error
    assert describe(chained).chain == (Cause("KeyError", "'inner'"),)
    group = ExceptionGroup("many", [ValueError("a"), TypeError("b")])
    assert [cause.type_name for cause in describe(group).chain] == ["ValueError", "TypeError"]


def test_a_suppressed_context_is_not_told() -> None:
    try:
        try:
            raise KeyError("hidden")
        except KeyError:
            raise AppError("outer") from None
    except AppError as error:
        assert describe(error).chain == ()


def test_a_ring_of_causes_ends() -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert [cause.message for cause in describe(one).chain] == ["2"]


def test_a_long_chain_is_cut_at_eight() -> None:
    error = first = ValueError("0")
    for number in range(1, 20):
        error.__cause__ = error = ValueError(str(number))
    assert [cause.message for cause in describe(first).chain] == [str(number) for number in range(1, 9)]


def test_long_messages_and_tracebacks_are_cut() -> None:
    def dive(depth: int) -> None:
        if depth:
            dive_otherwise(depth - 1)
        raise AppError("ü" * 10_000)

    def dive_otherwise(depth: int) -> None:
        dive(depth)

    try:
        dive(200)
    except AppError as error:
        failure = describe(error)
    assert len(failure.message.encode()) <= 4096
    assert failure.message.endswith("[…]")
    assert len(failure.traceback.encode()) <= 16_384
    assert "raise AppError" in failure.traceback


class LyingStr(str):
    __slots__ = ()

    def encode(self, *args: object) -> bytes:
        raise RuntimeError


class Hostile(Exception):
    def __init__(self, behaviour) -> None:
        self.behaviour = behaviour

    def __str__(self) -> str:
        return self.behaviour()

    __repr__ = __str__


def explode(error: BaseException):
    def behave() -> str:
        raise error

    return behave


def recurse() -> str:
    return recurse()


@pytest.mark.parametrize(
    "behaviour",
    [
        explode(ValueError()),
        explode(SystemExit(1)),
        explode(KeyboardInterrupt()),
        explode(MemoryError()),
        recurse,
        lambda: 5,
        lambda: "\ud800",
        lambda: LyingStr("lying"),
        lambda: "x" * 10_000_000,
    ],
    ids=range(9),
)
def test_describing_never_raises_and_always_gives_plain_data(behaviour) -> None:
    failure = describe(raised(Hostile(behaviour)))
    assert type(failure.message) is str
    serializer = MsgpackSerializer()
    assert from_plain(serializer.loads(serializer.dumps(failure.to_plain()))) == failure


def test_a_class_with_a_hostile_name_is_described() -> None:
    class Meta(type):
        @property
        def __module__(cls) -> str:
            raise RuntimeError

    class Nameless(Exception, metaclass=Meta):
        pass

    class Odd(Exception):
        __module__ = 5

    class Long(Exception):
        __module__ = "ü" * 1000

    assert type(describe(Nameless()).type_name) is str
    assert type(describe(Odd()).type_name) is str
    assert from_plain(describe(Long()).to_plain()) == describe(Long())


def test_a_failure_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        describe(ValueError()).message = "x"


GOOD = Failure("a.B", "message", "trace", (Cause("C", "why"),)).to_plain()


@pytest.mark.parametrize(
    "untrusted",
    [
        None,
        5,
        [],
        {},
        GOOD | {"type": 5},
        GOOD | {"message": b"bytes"},
        GOOD | {"traceback": None},
        GOOD | {"chain": "text"},
        GOOD | {"chain": [["C"]]},
        GOOD | {"chain": [["C", 5]]},
        GOOD | {"chain": [{"C": "x"}]},
        GOOD | {"chain": [["C", "x"]] * 9},
        GOOD | {"type": "x" * 256},
        GOOD | {"message": "x" * 4097},
        GOOD | {"message": "ü" * 4096},
        GOOD | {"traceback": "x" * 16_385},
    ],
    ids=range(16),
)
def test_plain_data_of_another_shape_is_malformed(untrusted: object) -> None:
    with pytest.raises(Rejected, match="malformed"):
        from_plain(untrusted)


@pytest.mark.attack(56)
def test_an_unregistered_failure_becomes_task_failed() -> None:
    error = rebuild(Failure("other.Thing", "broke", "trace"), {})
    assert isinstance(error, TaskFailed)
    assert (error.remote_type, error.message, error.traceback) == ("other.Thing", "broke", "trace")


def test_a_registered_failure_becomes_its_class_with_the_message() -> None:
    error = rebuild(Failure(type_name(AppError), "broke"), {type_name(AppError): AppError})
    assert type(error) is AppError
    assert error.args == ("broke",)


def test_a_registered_class_that_wants_more_than_a_message_gives_way() -> None:
    class Picky(Exception):
        def __init__(self, code: int, text: str) -> None:
            super().__init__(code, text)

    assert isinstance(rebuild(Failure("Picky", "broke"), {"Picky": Picky}), TaskFailed)


@pytest.mark.attack(56)
@pytest.mark.parametrize("name", ["os.system", "builtins.exec", "builtins.eval", "subprocess.Popen", "SystemExit"])
def test_a_name_of_something_callable_is_text_and_nothing_is_called(name: str) -> None:
    error = rebuild(Failure(name, "touch /tmp/marker"), {})
    assert isinstance(error, TaskFailed)
    assert str(error) == f"{name}: touch /tmp/marker"
