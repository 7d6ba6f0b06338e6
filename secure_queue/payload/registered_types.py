"""The application's own types, by name: what ``MsgpackSerializer.register`` keeps.

A name from the wire is looked up in a dict and never imported. Values are built by the constructor or the validator of
their class, so that bytes cannot make an object that the class itself would refuse to make.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, Flag
from typing import Any

from secure_queue.errors import ConfigurationError, Rejected, UnserializableValue
from secure_queue.payload.extensions import APPLICATION_CODES, DATACLASS, ENUM, MODEL, Decode, Encode

ToPlain = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class RegisteredType:
    """How one class travels: under which name and code, as which plain value, and how it is built from it."""

    cls: type
    name: str
    code: int
    to_plain: ToPlain
    from_plain: ToPlain
    is_derived: bool = True
    """Whether the kind of the class decided how it travels, and not the application."""


class TypeRegistry:
    """The registered types of one serializer, by class for packing and by name for unpacking."""

    def __init__(self) -> None:
        self._by_class: dict[type, RegisteredType] = {}
        self._by_name: dict[str, RegisteredType] = {}
        self.application_encoders: dict[type, tuple[int, Encode]] = {}
        self.application_decoders: dict[int, Decode] = {}

    def add(self, cls: type, name: str | None, encode: ToPlain | None, decode: ToPlain | None) -> None:
        """Register *cls*; without a pair of functions its kind decides how it travels."""
        name = name or cls.__qualname__
        if encode is not None and decode is not None:
            entry = RegisteredType(cls, name, MODEL, encode, decode, is_derived=False)
        else:
            entry = describe_class(cls, name)
        if self._by_name.get(name, entry).cls is not cls:
            raise ConfigurationError(f"another class is registered as {name!r}; pass name= to tell them apart")
        self._by_class[cls] = self._by_name[name] = entry

    def add_application_code(self, code: int, cls: type, encode: Encode, decode: Decode) -> None:
        """Give *cls* an extension code of its own, with functions to and from bytes."""
        if code not in APPLICATION_CODES:
            raise ConfigurationError("extension codes of the application are 32 to 127")
        if code in self.application_decoders:
            raise ConfigurationError(f"extension code {code} is taken")
        self.application_encoders[cls] = (code, encode)
        self.application_decoders[code] = decode

    def to_plain(self, value: Any) -> tuple[int, list[Any]]:
        """The code of a registered value and what to pack under it."""
        entry = self._by_class.get(type(value))
        if entry is None:
            raise UnserializableValue(how_to_register(type(value)))
        plain = entry.to_plain(value)
        if entry.is_derived and not _survives(value, plain, entry.from_plain):
            raise UnserializableValue(
                f"this {entry.name} would not arrive as it is (a field that its constructor does not take, an alias, a "
                "masked secret, a subclass in a field); register the class with encode= and decode="
            )
        return entry.code, [entry.name, plain]

    def from_plain(self, code: int, content: Any) -> Any:
        """Build a registered value; its constructor may refuse it with any error."""
        match content:
            case [str() as name, plain]:
                entry = self._by_name.get(name)
            case _:
                raise Rejected("malformed")
        if entry is None or entry.code != code:
            raise Rejected("unknown-type")
        try:
            return entry.from_plain(plain)
        except Exception:
            refused = "undeserializable"
        raise Rejected(refused)  # outside the handler: no context that holds the value


def _survives(value: Any, plain: Any, from_plain: ToPlain) -> bool:
    """Whether the reader will build an equal value; the sender is the one who can still do something about it."""
    try:
        built = from_plain(plain)
    except Exception:
        return False
    if "__eq__" not in {name for cls in type(value).__mro__[:-1] for name in vars(cls)}:  # no notion of equality
        return True
    try:
        return bool(built == value)
    except Exception:  # arrays, say, cannot be compared to a truth value
        return True


def how_to_register(cls: type) -> str:
    """Name the class, never the value."""
    return (
        f"values of type {cls.__module__}.{cls.__qualname__} have no msgpack form: register the class with the "
        "MsgpackSerializer that every producer and worker has as serializer=, or choose another one, or convert the value"
    )


def describe_class(cls: type, name: str) -> RegisteredType:
    """Find out what kind of class this is and how such classes travel."""
    if issubclass(cls, Enum):
        return _describe_enum(cls, name)
    if hasattr(cls, "model_validate") and hasattr(cls, "model_dump"):
        return RegisteredType(cls, name, MODEL, _dump_model, cls.model_validate)
    names = _constructor_fields(cls)
    if names is None:
        raise ConfigurationError(
            f"{cls.__qualname__} is no dataclass, Enum, NamedTuple, pydantic, attrs or msgspec class; "
            "pass encode= and decode="
        )
    code = DATACLASS if dataclasses.is_dataclass(cls) or issubclass(cls, tuple) else MODEL
    return RegisteredType(cls, name, code, _reader_of(names), _builder_of(cls))


def _dump_model(model: Any) -> Any:
    return model.model_dump(mode="json")


def _describe_enum(cls: type[Enum], name: str) -> RegisteredType:
    if issubclass(cls, Flag):  # a combination of flags has a value but no member name
        return RegisteredType(cls, name, ENUM, lambda flag: flag.value, cls)
    return RegisteredType(cls, name, ENUM, lambda member: member.name, cls.__members__.__getitem__)


def _constructor_fields(cls: Any) -> Mapping[str, str] | None:
    """Attribute name to constructor parameter, for the kinds of record classes that say so themselves."""
    if dataclasses.is_dataclass(cls):
        return {field.name: field.name for field in dataclasses.fields(cls) if field.init}
    if hasattr(cls, "__attrs_attrs__"):
        return {field.name: field.alias or field.name for field in cls.__attrs_attrs__ if field.init}
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return {name: name for name in cls._fields}
    if hasattr(cls, "__struct_fields__"):
        return {name: name for name in cls.__struct_fields__}
    return None


def _reader_of(names: Mapping[str, str]) -> ToPlain:
    def read(value: Any) -> dict[str, Any]:
        return {parameter: getattr(value, attribute) for attribute, parameter in names.items()}

    return read


def _builder_of(cls: Any) -> ToPlain:
    def build(plain: Any) -> Any:
        return cls(**plain)

    return build
