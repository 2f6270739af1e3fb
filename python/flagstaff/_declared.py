"""Flags and values that code declares. Needs neither the app registry nor a database."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, TypeVar, cast, overload

from django.apps import apps
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_date

from flagstaff import _core
from flagstaff._core import is_storable
from flagstaff._declared_types import DeclaredType, datetime_like, declared_type
from flagstaff._log import log_once
from flagstaff._text import Sentence, parse_json, say, text_of
from flagstaff._text.rules import places_of, problem_at
from flagstaff.exceptions import DeclarationError
from flagstaff.validators import (
    CHOICES,
    CLIENT_SIDE,
    SECRET,
    SECRET_FOR_BROWSERS,
    TYPE,
    UNSTORABLE,
    VALUE,
    ValueSchema,
    choices_problem,
    is_secret,
    json_problem_of,
    key_problem,
    owner_problem,
    stored_problem,
    tags_problem,
    unit_problem,
    value_schema_problems,
)

if TYPE_CHECKING:
    from typing_extensions import Never, Self

_T = TypeVar("_T")

FlagKind = Literal["release", "ops", "permission"]
_KINDS = ("release", "ops", "permission")
# The classes of arguments, or of what has their type; those of the others are compared by value.
_CLASSES: Final[Mapping[str, Sequence[type[object]]]] = {
    **dict.fromkeys(("key", "description", "owner", "group", "bucket_by"), (str,)),
    **dict.fromkeys(("secret", "client_side"), (bool,)),
    # None if the default decides.
    "null": (bool, type(None)),
    **dict.fromkeys(("tags", "choices", "validators"), (list, tuple, Sequence)),
    "type": (type,),
}
# What a text would do, and a key must not: a flag would be on for everybody.
_REFUSED = (
    *("__bool__", "__contains__", "__iter__", "__html__"),
    *("__add__", "__radd__", "__mul__", "__rmul__", "__mod__"),
)


class Place(NamedTuple):
    """Where a key is declared."""

    #: The instruction that declares it. Python would search the line from the top of the file.
    code: CodeType
    instruction: int
    #: The module, as it is imported.
    module: str

    @classmethod
    def of_caller(cls, frame: FrameType) -> Place:
        """Returns the place that a frame executes now."""
        return cls(frame.f_code, frame.f_lasti, frame.f_globals.get("__name__", ""))

    @property
    def file(self) -> str:
        """The file."""
        return self.code.co_filename

    @property
    def line(self) -> int:
        """The line of the file."""
        lines = (
            line
            for start, end, line in self.code.co_lines()
            if self.instruction in range(start, end)
        )
        return next(lines, None) or 0

    @property
    def path(self) -> str:
        """The file as people name it, such as "shop/flags.py"."""
        path = f"{self.module.replace('.', '/')}.py"
        return path if Path(self.file).as_posix().endswith(path) else self.file

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class DeclaredKey(str):  # noqa: SLOT000 (it has what code says)
    """A key, with what code says about it. Equals the same text, and never changes."""

    description: str
    #: What percentages count in a new row. Operators decide it afterwards.
    bucket_by: str
    client_side: bool
    #: Where it is declared.
    place: Place

    @property
    def use(self) -> str:
        """What code writes to evaluate it."""
        raise NotImplementedError

    @property
    def owned(self) -> dict[str, Any]:
        """What a row has of code, by the name of the field: operators do not change it."""
        # Browsers may read it only if both say so.
        return {"description": self.description} | (
            {} if self.client_side else {CLIENT_SIDE: False}
        )

    @property
    def new_row(self) -> dict[str, Any]:
        """The fields of a new row."""
        return {"key": str(self), "bucket_by": self.bucket_by, CLIENT_SIDE: True, **self.owned}

    def for_request(self) -> object:
        """Returns the result for the user of the request that is handled now, or for nobody."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{self!r} is declared, so {name} cannot change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self!r} is declared, so {name} cannot change")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __copy__(self) -> DeclaredKey:
        return self

    def __deepcopy__(self, _memo: object) -> DeclaredKey:
        return self

    # As plain text, so that a task queue need not import the declaration.
    def __reduce_ex__(self, _protocol: object) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)

    if TYPE_CHECKING:
        # So that type checkers report what raises TypeError: see `_REFUSED`.
        def __bool__(self) -> NoReturn:
            raise TypeError

        def __add__(self, other: Never) -> NoReturn:  # type: ignore[override]
            raise TypeError

        def __mul__(self, other: Never) -> NoReturn:  # type: ignore[override]
            raise TypeError

        def __iter__(self) -> NoReturn:
            raise TypeError

        def __getitem__(self, index: Never) -> NoReturn:  # type: ignore[override]
            raise TypeError

    else:

        def __getitem__(self, index: Any) -> Any:
            # A template looks here first for `.enabled` and `.get`, and calls what it gets.
            is_result = isinstance(index, str) and f".{index}(" in self.use
            return self.for_request if is_result else super().__getitem__(index)


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refused(self: DeclaredKey, *_: object) -> NoReturn:
        raise TypeError(f"{self!r} is a key, not its result; write {self.use}")

    refused.__name__ = name
    return refused


for _name in _REFUSED:
    setattr(DeclaredKey, _name, _refuse(_name))


class Flag(DeclaredKey, _core.DeclaredFlag):
    """A flag that code declares. Every environment has it, at first off for all users.

        NEW_CHECKOUT = Flag("new_checkout", "Checkout on one page", owner="payments")

        if NEW_CHECKOUT.enabled(request.user): ...

    It is the key, so every function that takes a key takes it. Raises DeclarationError for invalid
    arguments, and for a key that is declared twice.
    """

    owner: str
    tags: tuple[str, ...]
    kind: FlagKind
    review_on: date | None

    def __new__(  # noqa: PLR0913 (what code says about a flag)
        cls,
        key: str,
        description: str = "",
        *,
        owner: str = "",
        tags: Sequence[str] = (),
        kind: FlagKind = "release",
        review_on: date | str | None = None,
        bucket_by: str = "user",
        client_side: bool = False,
    ) -> Self:
        """Declares a flag. `review_on` is a date, or a text such as "2027-03-01"."""
        place = Place.of_caller(sys._getframe(1))  # noqa: SLF001
        arguments = {
            "description": description,
            "owner": owner,
            "tags": tags,
            "bucket_by": bucket_by,
            "client_side": client_side,
        }
        _require(place, key, _argument_problem({"key": key, **arguments}))
        flag = str.__new__(cls, key)
        review = _date(review_on)
        vars(flag).update(arguments, tags=(*tags,), kind=kind, review_on=review, place=place)
        problems = (
            owner_problem(owner),
            _text_problem("owner", owner),
            tags_problem([*tags]),
            None if kind in _KINDS else say("use one of release, ops, permission"),
            None if type(review) is date or review_on is None else say("review_on is not a date"),
        )
        _declare(flag, problems)
        return flag

    @property
    def use(self) -> str:
        """What code writes to evaluate it."""
        return f"{_constant(self)}.enabled(user)"

    def for_request(self) -> bool:
        """Returns whether the flag is on for the user of the request."""
        flags = _core.observed_request()
        return bool(flags.enabled(self)) if hasattr(flags, "enabled") else self.enabled()

    @property
    def owned(self) -> dict[str, Any]:
        """What a row has of code."""
        own = {name: getattr(self, name) for name in ("owner", "kind", "review_on")}
        return {**super().owned, **own, "tags": [*self.tags]}


class Value(DeclaredKey, _core.DeclaredValue[_T]):
    """A value that code declares. Every environment has it, at first with its default.

        PAGE_SIZE = Value("page_size", 20, "Products on a page", choices=[20, 50])

        page_size = PAGE_SIZE.get()

    Its type is that of the default: bool, int, float, str, list, dict, Decimal, date, datetime,
    timedelta, or an enum. It is the key, so every function that takes a key takes it. Raises
    DeclarationError for invalid arguments, and for a key that is declared twice.
    """

    default: _T
    python_type: type[object]
    #: Whether the value may be None.
    null: bool
    choices: tuple[_T, ...]
    #: Functions that raise ValidationError for what operators must not set.
    validators: tuple[Callable[[Any], object], ...]
    #: The heading in the console.
    group: str
    #: Whether only evaluations may show it.
    secret: bool
    stored: DeclaredType

    # `...` for the choices: from `()`, pyright takes the type of 20 as Literal[20].
    @overload
    def __new__(
        cls,
        key: str,
        default: None,
        description: str = "",
        *,
        type: type[_T],
        null: Literal[True] = True,
        choices: Sequence[_T] = ...,
        validators: Sequence[Callable[[Any], object]] = (),
        group: str = "",
        bucket_by: str = "user",
        secret: bool = False,
        client_side: bool = False,
    ) -> Value[_T | None]: ...
    @overload
    def __new__(
        cls,
        key: str,
        default: _T,
        description: str = "",
        *,
        type: type[_T] | None = None,
        null: Literal[True],
        choices: Sequence[_T] = ...,
        validators: Sequence[Callable[[Any], object]] = (),
        group: str = "",
        bucket_by: str = "user",
        secret: bool = False,
        client_side: bool = False,
    ) -> Value[_T | None]: ...
    @overload
    def __new__(
        cls,
        key: str,
        default: _T,
        description: str = "",
        *,
        type: type[_T] | None = None,
        null: Literal[False] = False,
        choices: Sequence[_T] = ...,
        validators: Sequence[Callable[[Any], object]] = (),
        group: str = "",
        bucket_by: str = "user",
        secret: bool = False,
        client_side: bool = False,
    ) -> Value[_T]: ...
    def __new__(  # noqa: PLR0913 (what code says about a value)
        cls,
        key: str,
        default: Any,
        description: str = "",
        *,
        type: type[Any] | None = None,  # noqa: A002 (a declaration reads like a model)
        null: bool | None = None,
        choices: Sequence[Any] = (),
        validators: Sequence[Callable[[Any], object]] = (),
        group: str = "",
        bucket_by: str = "user",
        secret: bool = False,
        client_side: bool = False,
    ) -> Value[Any]:
        """Declares a value. `type` is needed if the default is None; `null` is then True.

        `choices` of an enum are by default its members. `validators` are those of Django.
        """
        place = Place.of_caller(sys._getframe(1))  # noqa: SLF001
        python_type = default.__class__ if type is None else type
        arguments = {
            "description": description,
            "null": null,
            "choices": choices,
            "validators": validators,
            "group": group,
            "bucket_by": bucket_by,
            "secret": secret,
            "client_side": client_side,
        }
        problem = _argument_problem({"key": key, "type": python_type, **arguments})
        _require(place, key, problem)
        value: Value[Any] = str.__new__(cls, key)
        stored = declared_type(python_type)
        if stored is not None and python_type is datetime:
            stored = stored._replace(from_text=partial(datetime_like, default))
        if not choices and issubclass(python_type, Enum):
            choices = [*cast("Any", python_type)]
        vars(value).update(
            arguments,
            default=default,
            python_type=python_type,
            null=default is None if null is None else null,
            choices=(*choices,),
            validators=(*validators,),
            stored=stored,
            place=place,
        )
        problems = (
            say(SECRET_FOR_BROWSERS) if secret and client_side else None,
            None if all(map(callable, validators)) else say("a validator is not a function"),
            _value_problem(value, stored),
        )
        _declare(value, problems)
        return value

    @property
    def use(self) -> str:
        """What code writes to evaluate it."""
        return f"{_constant(self)}.get()"

    def for_request(self) -> _T:
        """Returns the value for the user of the request."""
        flags = _core.observed_request()
        return cast("_T", flags.value(self)) if hasattr(flags, "value") else self.get()

    @property
    def owned(self) -> dict[str, Any]:
        """What a row has of code."""
        schema = self.schema
        secret = {SECRET: True} if self.secret else {}
        return {**super().owned, **secret, TYPE: schema.type, CHOICES: [*schema.choices]}

    @property
    def new_row(self) -> dict[str, Any]:
        """The fields of a new row: the default, until an operator sets another value."""
        return {**super().new_row, VALUE: self.to_json(self.default)}

    @property
    def schema(self) -> ValueSchema:
        """What may be stored, as JSON has it."""
        return ValueSchema(self.stored.json, [*map(self.to_json, self.choices)])

    @cached_property
    def for_workers(self) -> _core.ValueForm:
        """What the extension takes."""
        return _core.ValueForm(
            str(self),
            json.dumps(self.to_json(self.default)),
            self.stored.form,
            is_nullable=self.null,
            choices=[json.dumps(self.to_json(choice)) for choice in self.choices],
            is_secret=self.secret,
            client_side=self.client_side,
            is_converted=self.stored.from_text is not None,
        )

    def problem(self, stored: object, *, secret: bool) -> Sentence | None:
        """Returns why operators must not set what JSON stores, or None.

        With `secret`, without the value.
        """
        try:
            text = json.dumps(stored)
        except (RecursionError, TypeError, ValueError):
            return None  # the field says that this is not JSON
        # What workers do not return must not be stored.
        return self.for_workers.misfit(text) or self.refusal(stored, secret=secret)

    def refusal(self, stored: object, *, secret: bool) -> Sentence | None:
        """Returns the same for what workers return: that Python or a validator refuses it."""
        try:
            value = self.from_json(stored)
        except (ArithmeticError, TypeError, ValueError):
            return say("Python cannot read the value as {type}", type=self.python_type.__name__)
        try:
            for validate in self.validators if value is not None else ():
                validate(value)
        except ValidationError as error:
            if secret:
                return say("the value is refused by a validator of its declaration")
            return text_of([error])
        except (ArithmeticError, TypeError, ValueError) as error:
            return say("a validator fails with {error}", error=type(error).__name__)
        return None

    def read(self, text: str) -> Any:
        """Returns what JSON stores for a text that a person has typed: JSON, or the value itself.

        Raises ValueError if it has to be JSON, and is not.
        """
        is_text = self.stored.json == "string"
        try:
            read = parse_json(text)
        except ValueError:
            if not is_text:
                raise
            read = text
        if not is_text or (read is None and self.null):
            return read
        try:
            # So 600 is stored as 00:10:00.
            return self.to_json(self.from_json(read if isinstance(read, str) else text))
        except (ArithmeticError, TypeError, ValueError):
            return text

    def to_json(self, value: object) -> Any:
        """Returns what JSON stores for a value of the type. Raises ValueError or TypeError."""
        return None if value is None else self.stored.to_json(value)

    def from_json(self, value: object) -> Any:
        """Returns the value of what JSON stores. Raises ValueError if that is no such value."""
        from_text = self.stored.from_text
        return value if value is None or from_text is None else from_text(json.dumps(value))


#: All declared keys, in the order of their declaration. Also those outside of a `flags.py`.
DECLARED: Final[dict[str, Flag | Value[Any]]] = {}


def declared_flag(key: str) -> Flag | None:
    """Returns the declaration of a flag, or None."""
    declared = DECLARED.get(key)
    return declared if isinstance(declared, Flag) else None


def declared_value(key: str) -> Value[Any] | None:
    """Returns the declaration of a value, or None."""
    declared = DECLARED.get(key)
    return declared if isinstance(declared, Value) else None


def json_of(key: str, result: object) -> Any:
    """Returns what JSON stores for the result of a value, such as the text of a Decimal."""
    declared = declared_value(key)
    is_declared = declared is not None and type(result) is declared.python_type
    return cast("Value[Any]", declared).to_json(result) if is_declared else result


def may_be_null(row: Any) -> bool:
    """Whether code lets the value of a row be None."""
    declared = None if row is None else declared_value(row.key)
    return declared is not None and declared.null


def value_problems(row: Any, *, secret: bool | None = None) -> dict[str, Sentence]:
    """Returns what is wrong with a row of values, by field: its schema, and its declaration.

    With `secret`, which is by default what the row says, without a value.
    """
    secret = is_secret(row) if secret is None else secret
    problems, declared = value_schema_problems(row, secret=secret), declared_value(row.key)

    def problem_of(value: object) -> Sentence | None:
        if declared is not None:
            return declared.problem(value, secret=secret)
        return say('"value" must not be null; write a value, such as 25') if value is None else None

    # A value that is missing, in the row or in a rule, is a problem of its own field.
    if declared is not None and VALUE not in problems and (why := problem_of(row.value)):
        problems[VALUE] = why
    for place, rule in places_of(row.rules):
        if VALUE in rule and (why := problem_of(rule[VALUE])):
            problems.setdefault("rules", problem_at(place, why))
    return problems


def publish() -> None:
    """Makes the extension know all declared keys. Does not block."""
    keys = DECLARED.values()
    flags = [(str(key), key.client_side) for key in keys if isinstance(key, Flag)]
    _core.declare(flags, [key.for_workers for key in keys if isinstance(key, Value)])


def object_of(key: str, text: str) -> object:
    """Returns a value in its declared type, from its JSON text; the default if that fails."""
    value = cast("Value[Any]", DECLARED[key])
    try:
        return cast("Any", value.stored.from_text)(text)
    except (ArithmeticError, ValueError) as error:
        # Not the text of the error, which has the value.
        message = f"value {key!r} cannot be read ({type(error).__name__}), so it is its default"
        log_once("declared value", key, message)
        return value.default


def discover() -> None:
    """Imports the `flags.py` of each installed app. Raises DeclarationError, which names the file.

    One that cannot be imported, and does not name flagstaff, is of something else.
    """
    for app in apps.get_app_configs():
        name = f"{app.name}.flags"
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue
        try:
            import_module(name)
        except DeclarationError:
            raise
        except Exception as error:
            if b"flagstaff" not in Path(spec.origin).read_bytes():
                continue
            problem = f"{type(error).__name__}: {error}"
            raise DeclarationError(
                "{file} cannot be imported: {problem}", file=spec.origin, problem=problem
            ) from error
    _state.is_discovered = True
    publish()


class _State:
    """Whether each `flags.py` was imported. What is declared later is known at once."""

    is_discovered = False


_state = _State()


def _declare(key: Flag | Value[Any], problems: Sequence[Sentence | None]) -> None:
    """Registers a key. Raises DeclarationError for its first problem."""
    text = str(key)
    problems = (
        key_problem(text),
        _text_problem("description", key.description),
        unit_problem(key.bucket_by),
        *problems,
    )
    _require(key.place, text, next(filter(None, problems), None))
    first = DECLARED.get(text)
    if first is not None and str(first.place) != str(key.place):
        raise DeclarationError(
            "{key} is declared in {first} and in {second}; remove one of the two",
            key=text,
            first=str(first.place),
            second=str(key.place),
        )
    DECLARED[text] = key
    if _state.is_discovered:
        publish()


def _require(place: Place, key: object, problem: Sentence | None) -> None:
    """Raises DeclarationError if there is a problem."""
    if problem is not None:
        raise DeclarationError(
            "{place}: {key}: {problem}", place=place, key=str(key), problem=problem
        )


def _argument_problem(arguments: Mapping[str, object]) -> Sentence | None:
    """Returns which argument is of a wrong type, or None."""
    for name, argument in arguments.items():
        classes = _CLASSES[name]
        # Nearly always, and a start of a process may declare a thousand keys.
        if type(argument) in classes:
            continue
        is_text_for_list = Sequence in classes and isinstance(argument, str)
        if is_text_for_list or not isinstance(argument, (*classes,)):
            return say(
                "{name} must be of the type {expected}, not {type}",
                name=name,
                expected=classes[0].__name__,
                type=type(argument).__name__,
            )
    return None


def _text_problem(name: str, text: str) -> Sentence | None:
    """Returns why no row can have a text, or None."""
    return None if is_storable(text) else say("{name} {problem}", name=name, problem=UNSTORABLE)


def _date(review_on: object) -> object:
    """Returns a date; None for a text that is none."""
    if not isinstance(review_on, str):
        return review_on
    try:
        return parse_date(review_on)
    except ValueError:
        return None


def _value_problem(value: Value[Any], stored: DeclaredType | None) -> Sentence | None:
    """Returns why a value cannot be declared like this, or None."""
    if stored is None:
        return _no_type(value.python_type)
    for item in (value.default, *value.choices):
        is_float = value.python_type is float and type(item) is int
        if (
            type(item) is not value.python_type
            and not is_float
            and not (item is None and value.null)
        ):
            return say(
                "{value} is not of the type {type}",
                value=repr(item),
                type=value.python_type.__name__,
            )
    if value.choices and (problem := _choices_problem(value)):
        return problem
    if value.default is None:
        return None
    default = value.to_json(value.default)
    # Of a plain type without choices, workers compare nothing else than was compared above.
    is_plain = stored.form == stored.json and not value.choices
    problem_of = value.refusal if is_plain else value.problem
    problem = stored_problem(default) or problem_of(default, secret=False)
    return problem and say("the default: {problem}", problem=problem)


def _no_type(python_type: type[object]) -> Sentence:
    """Returns why no value can have a type."""
    if python_type is type(None):
        return say("None has no type of its own; pass that of other values, such as type=str")
    return say(
        "a value cannot be {type}; use bool, int, float, str, list, dict, Decimal, date, "
        "datetime, timedelta or an enum of one of these types",
        type=python_type.__name__,
    )


def _choices_problem(value: Value[Any]) -> Sentence | None:
    """Returns why no row can have these choices, or None."""
    choices = value.schema.choices
    if problem := choices_problem(choices, value.stored.json):
        return problem
    problem = json_problem_of(choices)
    return problem and say("the choices: {problem}", problem=problem)


def _constant(key: str) -> str:
    """Returns the name that code probably has for a key."""
    return str(key).upper().replace("-", "_").replace(".", "_")
