"""What operators give to an action: how a terminal and a page read it, and what it becomes.

An argument is the type of a parameter, such as `Annotated[int, Parsed("…", "PERCENT", percent)]`. A
required one is the next word of the command, any other an option of its name.
"""

from __future__ import annotations

import csv
import json
import sys
from argparse import BooleanOptionalAction
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from django import forms
from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.db.models import BooleanField, DateField, JSONField, Model
from django.forms.fields import InvalidJSONInput
from django.utils.text import capfirst

from flagstaff._tables.attributes import ObjectReader, with_keys
from flagstaff._tables.rows import (
    RULES,
    TAGS,
    AnyField,
    is_auto_now,
    is_auto_now_add,
    stored_fields,
)
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text import (
    DuplicateNameError,
    is_whole_number,
    local_list,
    local_number,
    parse_json,
    quoted,
    say,
)
from flagstaff.exceptions import FlagstaffError, InvalidArgumentError
from flagstaff.validators import MAX_PERCENT, validate_tags

# The unknown users that a page names, and the users that it looks up in one request.
_MAX_LISTED, _MAX_PASTED = 10, 10_000


@dataclass(frozen=True)
class Argument:
    """An argument that is a text."""

    help: str
    metavar: str | None = "TEXT"
    #: Whether it is a word of the command also if it is not required.
    is_word: bool = field(default=False, kw_only=True)
    #: Whether it is a column of the project, whose option must not be one of ours.
    is_own: bool = field(default=False, kw_only=True)

    def add(self, parser: CommandParser, name: str, *, required: bool) -> None:
        """Adds it to the parser of a verb."""
        more = {"help": self.help, **self.parsing()}
        if self.metavar is not None:
            more["metavar"] = self.metavar
        if required:
            parser.add_argument(name, **more)
        elif self.is_word:
            parser.add_argument(name, nargs="?", **more)
        else:
            parser.add_argument(self.option(name), dest=self._dest(name), **more)

    def option(self, name: str) -> str:
        """Returns the option of an argument that is not required."""
        return f"--{self._dest(name).replace('_', '-')}"

    def _dest(self, name: str) -> str:
        return f"set_{name}" if self.is_own else name

    def parsing(self) -> dict[str, Any]:
        """Returns how argparse reads it."""
        return {}

    def read(
        self, name: str, options: Mapping[str, Any], report: Callable[[str], None]
    ) -> dict[str, Any]:
        """Returns what the action gets, by name; nothing if the argument is not in the options.

        `report` prints what a person should know of it. May read a file, the standard input or the
        database. Raises ValidationError or FlagstaffError.
        """
        typed = options[self._dest(name)]
        return {} if typed is None else {name: self.value(typed)}

    def value(self, typed: Any) -> Any:
        """Returns the value of what was typed. Raises ValidationError."""
        return typed

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        """Returns the field of a page. Its value is what the action gets; None is left out."""
        return forms.CharField(label=label, required=required, empty_value=None)


@dataclass(frozen=True)
class Parsed(Argument):
    """A text that a function parses. The function raises ValidationError or ValueError."""

    parse: Callable[[str], Any] = str

    def value(self, typed: str) -> Any:
        try:
            # Django's call_command passes a number as it is.
            return self.parse(str(typed))
        except ValueError as error:
            example = "0.01" if self.parse is float else "20000"
            values = {"example": example, "text": repr(typed)}
            raise ValidationError(
                say(
                    "expected a number such as {example}, no separators, not {text}", **values
                ).local
            ) from error

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return _ReadField(self._read_text, label=label, required=required)

    def _read_text(self, text: str) -> Any:
        return self.value(text) if text else None


class _ReadField(forms.CharField):
    """A text of a page, and the function that reads it, which raises ValidationError."""

    def __init__(
        self, read: Callable[[str], Any], *, has_lines: bool = False, **options: Any
    ) -> None:
        verbatim = {"rows": 6, "spellcheck": "false", "autocapitalize": "none"}
        widget = forms.Textarea(verbatim) if has_lines else forms.TextInput()
        super().__init__(widget=widget, **options)
        self._read = read

    def to_python(self, value: object) -> Any:
        """Reads the text."""
        return self._read(super().to_python(value) or "")


@dataclass(frozen=True)
class YesNo(Argument):
    """`--name` and `--no-name`."""

    metavar: str | None = None

    def parsing(self) -> dict[str, Any]:
        return {"action": BooleanOptionalAction}

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        # A box that is not checked is an answer, too.
        return forms.BooleanField(label=label, required=False)


@dataclass(frozen=True)
class Several(Argument):
    """An option that can be repeated; on a page, lines. One empty text stands for none."""

    #: Raises FlagstaffError if one is not valid.
    parse: Callable[[str], object] = str

    def option(self, name: str) -> str:
        return super().option(name.removesuffix("s"))

    def parsing(self) -> dict[str, Any]:
        # A page has lines instead.
        return {"action": "append", "help": f"{self.help}; can be repeated"}

    def value(self, typed: Any) -> Any:
        return [] if typed == [""] else typed

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return _ReadField(self._read_lines, has_lines=True, label=label, required=required)

    def _read_lines(self, text: str) -> list[str]:
        """Returns the lines that are not blank. Raises ValidationError with a line's number."""
        lines = [line.strip() for line in text.splitlines()]
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                self.parse(line)
            except FlagstaffError as error:
                problem = say(
                    "Line {number}: {problem}.", number=number, problem=error.message
                ).local
                raise ValidationError(problem) from error
        return [*filter(None, lines)]


@dataclass(frozen=True)
class Tags(Several):
    """Tags; on a page, a line with commas between them."""

    metavar: str | None = "TAG"

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return TagsField(label=label, required=required)


class TagsField(forms.JSONField):
    """A line of tags with commas between them."""

    widget = forms.TextInput({"class": "vTextField"})
    default_validators = [validate_tags]

    def prepare_value(self, value: object) -> Any:
        """Returns the line: as it was typed, or of the stored tags."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: object) -> Any:
        """Parses the line."""
        if isinstance(value, list):
            return value
        return [tag for part in str(value or "").split(",") if (tag := part.strip())]

    def bound_data(self, data: object, initial: object) -> object:
        """Returns the line as the user has typed it."""
        return initial if self.disabled else data


class JsonField(forms.JSONField):
    """The JSON that a person writes. An empty text is `empty_value`.

    Messages have no part of it, because it may be a secret.
    """

    default_error_messages = {
        "required": say(
            'the value is missing or null; write JSON, such as "stripe", 25 or []'
        ).lazy,
        "invalid": say(
            "not valid JSON (line %(line)d, column %(column)d); put strings in double quotes, "
            "write true, false and null in lower case, and no comma before a closing bracket"
        ).lazy,
        "duplicate": say("an object has a name twice; remove one").lazy,
        "undecodable": say(
            "a number has more than 4,300 digits, or the nesting more than 500 levels; write the "
            "number as a text, or split the value"
        ).lazy,
    }
    widget = forms.Textarea({"class": "flagstaff-json", "rows": 4, "spellcheck": "false"})
    # Texts, lists and objects without contents are values, too.
    empty_values = [None]
    #: Whether null may be typed. An empty text still is no value.
    is_nullable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"empty_value": None, **options})

    def prepare_value(self, value: Any) -> Any:
        """Returns the text in the form: as it was typed, or a stored value over several lines."""
        if isinstance(value, InvalidJSONInput):
            return value
        return "" if value is None and not self.is_nullable else self.text_of(value)

    def text_of(self, value: Any) -> str:
        """Returns the JSON of a stored value."""
        return json.dumps(value, indent=2, ensure_ascii=False, cls=self.encoder)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Returns what was typed, which is never formatted."""
        return InvalidJSONInput(data or "")

    def clean(self, value: Any) -> Any:
        """Returns what JSON stores. Raises ValidationError."""
        return None if self._is_null(value) else super().clean(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the form has another value."""
        # Django takes null for nothing.
        return self._is_null(data) or super().has_changed(initial, data)

    def _is_null(self, text: object) -> bool:
        return self.is_nullable and isinstance(text, str) and text.strip() == "null"

    def to_python(self, value: Any) -> Any:
        """Parses the text. Raises ValidationError with the line and the column of a mistake."""
        if not isinstance(value, str) or not value.strip():
            return self.empty_value
        try:
            return parse_json(value)
        except json.JSONDecodeError as error:
            place = {"line": error.lineno, "column": error.colno}
            raise self.error("invalid", **place) from error
        except DuplicateNameError:
            raise self.error("duplicate") from None
        except ValueError as error:
            raise self.error("undecodable") from error

    def error(self, code: str, **params: object) -> ValidationError:
        """Returns one of its errors."""
        return ValidationError(self.error_messages[code], code=code, params=params)


@dataclass(frozen=True)
class Json(Argument):
    """JSON as a word; "-" is the standard input."""

    metavar: str | None = "JSON"

    def value(self, typed: Any) -> Any:
        text, json_field = text_of_file(typed) if typed == "-" else typed, JsonField()
        if not text.strip():
            raise json_field.error("required")
        return json_field.to_python(text)

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return JsonField(label=label, required=required)


@dataclass(frozen=True)
class JsonFile(Json):
    """JSON in a file; a list may also be written in the place of the file."""

    metavar: str | None = "FILE"

    def value(self, typed: Any) -> Any:
        is_list = typed.lstrip().startswith("[")
        return super().value(typed if is_list else text_of_file(typed))


@dataclass(frozen=True)
class RulesFile(JsonFile):
    """Rules or conditions in a file, in which objects may have their names."""

    def value(self, typed: Any) -> Any:
        return with_keys(super().value(typed), ObjectReader())


@dataclass(frozen=True)
class Users(Argument):
    """Users, by primary key or username, as words or in a file."""

    def add(self, parser: CommandParser, name: str, *, required: bool) -> None:
        parser.add_argument(name, nargs="*", metavar="USER", help=self.help)
        parser.add_argument(
            "--file",
            metavar="PATH",
            help='a file with one user per line; "-" is the standard input',
        )
        parser.add_argument(
            "--skip-unknown", action="store_true", help="skip users that do not exist"
        )

    def read(
        self, name: str, options: Mapping[str, Any], report: Callable[[str], None]
    ) -> dict[str, Any]:
        path = options["file"]
        rows = [] if path is None else _rows_of_csv(text_of_file(path))
        texts = list(dict.fromkeys([*options[name], *(row[0] for row in rows if row[0])]))
        if not texts:
            raise InvalidArgumentError("no users: pass USER or --file")
        pks = allowed_user_table().find_many(texts)
        if unknown := [text for text in texts if text not in pks]:
            problem = unknown_users(unknown)
            if not options["skip_unknown"]:
                raise FlagstaffError(
                    "{problem} To skip unknown users, pass --skip-unknown.", problem=problem
                )
            report(f"skipped: {problem}")
        return {name: [pks[text] for text in texts if text in pks]}

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        field = _ReadField(_users_of_text, has_lines=True, label=label, required=required)
        field.help_text = say(
            "One user on each line, or with commas between them: {name}.", name=name_of_users()
        ).local
        return field


def _users_of_text(text: str) -> list[Any]:
    """Returns the primary keys. Raises ValidationError with those that are no users."""
    # A table that is pasted has tabs.
    rows = _rows_of_csv(text.replace("\t", ","))
    names = list(dict.fromkeys(filter(None, chain.from_iterable(rows))))
    if len(names) > _MAX_PASTED:
        counts = {"count": local_number(len(names)), "most": local_number(_MAX_PASTED)}
        raise ValidationError(
            say(
                "These are {count} users; a page takes at most {most} at a time. Write them in "
                "several parts, or pass a file to the command in the terminal: --file PATH.",
                **counts,
            ).local
        )
    pks = allowed_user_table().find_many(names)
    if unknown := [name for name in names if name not in pks]:
        raise ValidationError(unknown_users(unknown))
    return list(dict.fromkeys(pks[name] for name in names))


def named_users(pks: Iterable[str]) -> str:
    """Returns a text that a page reads as these users: names, or else the primary keys."""
    table, texts = allowed_user_table(), [*pks]
    keys = [table.parse_canonical(text) for text in texts]
    by_key = table.argument_names([key for key in keys if key is not None])
    # The spaces around a cell are not read.
    names = {key: name for key, name in by_key.items() if name == name.strip()}
    lines = StringIO()
    csv.writer(lines, lineterminator="\n").writerows(
        [text if key is None else names.get(key, text)]
        for text, key in zip(texts, keys, strict=True)
    )
    return lines.getvalue()


def _rows_of_csv(text: str) -> list[list[str]]:
    """Returns the cells of the lines that are not empty. Raises ValidationError."""
    try:
        # With None, each end of a line becomes "\n".
        rows = csv.reader(StringIO(text, newline=None), skipinitialspace=True)
        return [[cell.strip() for cell in row] for row in rows if row]
    except csv.Error as error:
        problem = say("This text cannot be read. Remove each double quote that is not closed.").lazy
        raise ValidationError(problem) from error


def name_of_users() -> str:
    """Returns what pages call the text that stands for a user, such as "Email or primary key"."""
    login = allowed_user_table().username_field
    if login is None:
        return say("Primary key").local
    return say("{field} or primary key", field=capfirst(login.verbose_name)).local


def unknown_users(unknown: Sequence[str]) -> str:
    """Returns why these texts stand for no user. Queries the users."""
    table = allowed_user_table()
    _found, shared = table.by_username(unknown)
    missing = [text for text in unknown if text not in shared]
    sentences = []
    if missing:
        text = say(
            "No user has this primary key or username: {names}.",
            "No users have these primary keys or usernames: {names}.",
            count=len(missing),
            names=_listed(missing),
        )
        sentences.append(text.local)
    if len(missing) == 1 and (similar := table.similar(missing[0])):
        sentences.append(say("Did you mean “{name}”?", name=similar).local)
    if shared:
        text = say(
            "Several users have this username, so write a primary key: {names}.",
            "Several users have these usernames, so write primary keys: {names}.",
            count=len(shared),
            names=_listed(sorted(shared)),
        )
        sentences.append(text.local)
    return " ".join(sentences)


def _listed(names: Iterable[str]) -> str:
    return local_list(map(quoted, names), _MAX_LISTED)


def percent(text: str) -> int:
    """Parses a percentage such as "25" or "25%". Raises ValidationError."""
    digits = text.removesuffix("%").strip()
    if is_whole_number(digits) and int(digits) <= MAX_PERCENT:
        return int(digits)
    raise ValidationError(
        say(
            "expected a whole number from 0 to {most}, not {text}",
            most=MAX_PERCENT,
            text=repr(text),
        ).local
    )


@dataclass(frozen=True)
class _Percentage(Parsed):
    """A whole number from 0 to 100."""

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return forms.IntegerField(
            label=label, required=required, min_value=0, max_value=MAX_PERCENT
        )


#: A text.
Text: TypeAlias = Annotated[str, Argument("a text")]
#: A whole number from 0 to 100.
Percent: TypeAlias = Annotated[
    int, _Percentage(f"a whole number from 0 to {MAX_PERCENT}", "PERCENT", percent)
]
#: The rules of a flag or of a value.
Rules: TypeAlias = Annotated[
    Any, RulesFile('a file with the rules as a JSON list; "-" is the standard input')
]
#: A bucketing unit.
Unit: TypeAlias = Annotated[
    str,
    Argument(
        'what the percentages count: "user", "visitor", or an attribute such as "organization"',
        "UNIT",
    ),
]


@dataclass(frozen=True)
class _Column(Argument):
    """A field of a row, read as Django reads it. A page has the form field of the model."""

    column: AnyField = field(kw_only=True)

    def value(self, typed: Any) -> Any:
        return self.column.to_python(typed) if typed or not self.column.null else None


def fields_of(
    model: Callable[[], type[Model]], base_model: type[Model], *, without: Collection[str]
) -> Callable[[], Mapping[str, Argument]]:
    """Returns what gives the fields of a model that a person sets, but for some.

    `ours` is the model of flagstaff that it extends.
    """

    def fields() -> Mapping[str, Argument]:
        our_names = {field.name for field in base_model._meta.get_fields()}
        return {
            field.name: _argument_of(field, is_own=field.name not in our_names)
            for field in stored_fields(model())
            if _is_editable(field) and field.name not in without
        }

    return fields


def _is_editable(field: AnyField) -> bool:
    is_clock = is_auto_now(field) or is_auto_now_add(field)
    return field.editable and not (is_clock or field.primary_key or field.name == "key")


def _argument_of(field: AnyField, *, is_own: bool) -> Argument:
    text = str(field.help_text or field.verbose_name).rstrip(".").replace("%", "%%")
    if isinstance(field, BooleanField):
        return YesNo(text, is_own=is_own)
    if field.name == TAGS:
        return Tags(f'{text}; replaces all, "" for none')
    if field.name == RULES:
        # They are long, so a file may have them.
        return RulesFile(f"{text}; JSON, or a file with it")
    if isinstance(field, JSONField):
        return Json(text, is_own=is_own)
    words = "/".join(str(value) for value, _label in field.flatchoices if value)
    metavar = words or ("DATE" if isinstance(field, DateField) else "TEXT")
    none = '; "" for none' if field.null or field.blank else ""
    return _Column(f"{text}{none}", metavar, column=field, is_own=is_own)


def is_input_closed() -> bool:
    """Whether the process has no standard input."""
    # Python sets it to None if the process starts without it.
    return sys.stdin is None or getattr(sys.stdin, "closed", False)


def text_of_file(name: str) -> str:
    """Returns the text of a file, or of the standard input. Raises InvalidArgumentError."""
    if name == "-" and is_input_closed():
        raise InvalidArgumentError("standard input is closed: redirect a file to it")
    try:
        # Also text is UTF-8, whatever the locale is.
        stdin = getattr(sys.stdin, "buffer", sys.stdin)
        data = stdin.read() if name == "-" else Path(name).read_bytes()
        text: str = data if isinstance(data, str) else data.decode()
        return text.removeprefix("\ufeff")
    except OSError as error:
        text = "cannot read {name}: {problem}"
        raise InvalidArgumentError(text, name=name, problem=str(error.strerror)) from error
    except UnicodeDecodeError as error:
        text = "{name} is not UTF-8 text: byte {number} is not valid"
        raise InvalidArgumentError(text, name=name, number=error.start + 1) from error
