"""What operators give to an action: how a terminal reads it, and what it becomes.

An argument is the type of a parameter, such as `Annotated[int, Parsed("…", "PERCENT", percent)]`. A
required one is the next word of the command, any other an option of its name.
"""

from __future__ import annotations

import csv
import json
import shlex
import sys
from argparse import ArgumentTypeError, BooleanOptionalAction
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeAlias

from django import forms
from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.forms.fields import InvalidJSONInput
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flagstaff._stored_value_schema import SECRET, is_secret
from flagstaff._tables.rows import Row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.json_text import DuplicateNameError, parse_json
from flagstaff._words.text import local_list, localized, quoted, some
from flagstaff.exceptions import FlagstaffError, InvalidArgumentError
from flagstaff.validators import MAX_PERCENT, validate_tags

# A text that starts like this is JSON with a mistake, not a string without quotes.
_STARTS_OF_JSON = ("{", "[", '"')
_MAX_RETYPED = 200
# The unknown users that a page names.
_MAX_LISTED = 10


@dataclass(frozen=True)
class Given:
    """The command for which an argument is read."""

    options: Mapping[str, Any]
    #: The words and the key, such as ("value", "set", "page_size").
    words: Sequence[str]
    #: The rows that exist.
    rows: Sequence[Row]
    say: Callable[[str], None]


@dataclass(frozen=True)
class Argument:
    """An argument that is a text."""

    help: str
    metavar: str | None = "TEXT"
    #: Whether it is a word of the command also if it is not required.
    is_word: bool = field(default=False, kw_only=True)

    def add(self, parser: CommandParser, name: str, *, required: bool) -> None:
        """Adds it to the parser of a verb."""
        more = self.parsing()
        if self.metavar is not None:
            more["metavar"] = self.metavar
        if required:
            parser.add_argument(name, help=self.help, **more)
        elif self.is_word:
            parser.add_argument(name, help=self.help, nargs="?", **more)
        else:
            parser.add_argument(self.option(name), dest=name, help=self.help, **more)

    def option(self, name: str) -> str:
        """Returns the option of an argument that is not required."""
        return f"--{name.replace('_', '-')}"

    def parsing(self) -> dict[str, Any]:
        """Returns how argparse reads it."""
        return {}

    def read(self, name: str, given: Given) -> dict[str, Any]:
        """Returns what the action gets, by name; nothing if the argument is not given.

        May read a file, the standard input or the database. Raises InvalidArgumentError.
        """
        typed = given.options[name]
        return {} if typed is None else {name: self.value(typed, given)}

    def value(self, typed: Any, given: Given) -> Any:
        """Returns the value of what was typed."""
        return typed

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        """Returns the field of a page. Its value is what the action gets; None is left out."""
        return forms.CharField(label=label, required=required, empty_value=None)


@dataclass(frozen=True)
class Parsed(Argument):
    """A text that a function parses. The function raises ArgumentTypeError or ValueError."""

    parse: Callable[[str], Any] = str
    #: Whether an empty text stands for None.
    clears: bool = False

    def parsing(self) -> dict[str, Any]:
        return {"type": self._parse}

    def value(self, typed: Any, given: Given) -> Any:
        return None if self.clears and typed == "" else typed

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return _ParsedField(self._parse, label=label, required=required)

    def _parse(self, text: str) -> Any:
        try:
            return "" if self.clears and not text else self.parse(text)
        except ValueError as error:
            raise ArgumentTypeError(f"invalid {self.metavar}: {text!r}") from error


class _ParsedField(forms.CharField):
    """A text of a page, which a function parses as that of a command."""

    def __init__(self, parse: Callable[[str], Any], **options: Any) -> None:
        super().__init__(**options)
        self._parse = parse

    def to_python(self, value: object) -> Any:
        """Parses the text. Raises ValidationError."""
        text = super().to_python(value)
        try:
            return self._parse(text) if text else None
        except ArgumentTypeError as error:
            raise ValidationError(str(error)) from error


@dataclass(frozen=True)
class _Percentage(Parsed):
    """A whole number from 0 to 100."""

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return forms.IntegerField(
            label=label, required=required, min_value=0, max_value=MAX_PERCENT
        )


@dataclass(frozen=True)
class OneOf(Argument):
    """One of some words, by what each stands for."""

    metavar: str | None = None
    choices: Mapping[str, object] = field(default_factory=dict)

    def parsing(self) -> dict[str, Any]:
        return {"choices": tuple(self.choices)}

    def value(self, typed: Any, given: Given) -> Any:
        return self.choices[typed]

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        words = [*([] if required else [("", "")]), *((one, one) for one in self.choices)]
        return forms.TypedChoiceField(
            choices=words,
            coerce=self.choices.__getitem__,
            empty_value=None,
            label=label,
            required=required,
        )


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
        return {"action": "append"}

    def value(self, typed: Any, given: Given) -> Any:
        return [] if typed == [""] else typed

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return _LinesField(self.parse, label=label, required=required)


class _LinesField(forms.CharField):
    """A text of a page with one of several on each line. Empty lines are left out."""

    widget = forms.Textarea({"rows": 6, "spellcheck": "false", "autocapitalize": "none"})

    def __init__(self, parse: Callable[[str], object], **options: Any) -> None:
        super().__init__(**options)
        self._parse = parse

    def to_python(self, value: object) -> Any:
        """Returns the lines. Raises ValidationError with the number of one that is not valid."""
        lines = [line.strip() for line in str(value or "").splitlines()]
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                self._parse(line)
            except FlagstaffError as error:
                values = {"number": number, "problem": localized(error.message)}
                text = gettext("Line %(number)s: %(problem)s.") % values
                raise ValidationError(text) from error
        return [*filter(None, lines)]


@dataclass(frozen=True)
class Tags(Several):
    """Tags; on a page, a line with commas between them."""

    metavar: str | None = "TAG"

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return TagsField(label=label, required=required)


class TagsField(forms.JSONField):
    """A line of tags with commas between them."""

    default_validators = [validate_tags]

    def prepare_value(self, value: object) -> Any:
        """Returns the line: as it was typed, or of the stored tags."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: object) -> Any:
        """Parses the line, or a list in JSON."""
        try:
            given = value if isinstance(value, list) else json.loads(str(value))
        except (ValueError, RecursionError):
            given = None
        if isinstance(given, list):
            return given
        return [tag for part in str(value or "").split(",") if (tag := part.strip())]

    def bound_data(self, data: object, initial: object) -> object:
        """Returns the line as the user has typed it."""
        return initial if self.disabled else data


class JsonField(forms.JSONField):
    """The JSON that a person writes on a page. An empty text is `empty_value`."""

    default_error_messages = {
        "required": _('the value is missing or null; write JSON, such as "stripe", 25 or []'),
        "invalid": _(
            "not valid JSON (line %(line)d, column %(column)d); put strings in double quotes, "
            "write true, false and null in lower case, and no comma before a closing bracket"
        ),
        "duplicate": _("an object has the name %(name)s twice; remove one"),
        "undecodable": _(
            "a number has more than 4,300 digits, or the nesting more than 500 levels; write the "
            "number as a text, or split the value"
        ),
    }
    # Texts, lists and objects without contents are values, too.
    empty_values = [None]

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"empty_value": None, **options})

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """Returns the attributes of the text area."""
        return {"class": "flagstaff-json", "rows": 4, "spellcheck": "false"}

    def prepare_value(self, value: Any) -> Any:
        """Returns the text in the form: as it was typed, or a stored value over several lines."""
        if isinstance(value, InvalidJSONInput):
            return value
        return "" if value is None else self.text_of(value)

    def text_of(self, value: Any) -> str:
        """Returns the JSON of a stored value."""
        return json.dumps(value, indent=2, ensure_ascii=False, cls=self.encoder)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Returns what was typed, which is never formatted."""
        return InvalidJSONInput(data or "")

    def to_python(self, value: Any) -> Any:
        """Parses the text. Raises ValidationError with the line and the column of a mistake."""
        if not isinstance(value, str) or not value.strip():
            return self.empty_value
        try:
            return parse_json(value)
        except json.JSONDecodeError as error:
            place = {"line": error.lineno, "column": error.colno}
            raise self._error("invalid", **place) from error
        except DuplicateNameError as error:
            raise self._error("duplicate", name=error.name) from error
        except ValueError as error:
            raise self._error("undecodable") from error

    def _error(self, code: str, **params: object) -> ValidationError:
        return ValidationError(self.error_messages[code], code=code, params=params)


class _Json(Argument):
    """JSON, which a page edits as a text."""

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        return JsonField(label=label, required=required)


@dataclass(frozen=True)
class JsonFile(_Json):
    """JSON in a file; a list may also be written in the place of the file."""

    metavar: str | None = "FILE"

    def value(self, typed: Any, given: Given) -> Any:
        if typed.lstrip().startswith("["):
            return _parsed(typed)
        return _parsed(text_of_file(typed))


@dataclass(frozen=True)
class JsonText(_Json):
    """JSON as a word."""

    metavar: str | None = "JSON"

    def parsing(self) -> dict[str, Any]:
        return {"type": self.parse}

    @staticmethod
    def parse(text: str) -> Any:
        """Parses JSON. Raises ArgumentTypeError."""
        try:
            return parse_json(text)
        except ValueError as error:
            raise ArgumentTypeError(f"not valid JSON: {error}") from error


@dataclass(frozen=True)
class StoredValue(_Json):
    """The JSON of a value. Messages have no part of a secret one."""

    metavar: str | None = "JSON"

    def value(self, typed: Any, given: Given) -> Any:
        secret = any(map(is_secret, given.rows)) or bool(given.options.get(SECRET))
        text = standard_input().read() if typed == "-" else typed
        try:
            return parse_json(text)
        except DuplicateNameError as error:
            problem = "an object has a name twice" if secret else str(error)
            raise InvalidArgumentError("{problem}; remove one", problem=problem) from None
        except ValueError as error:
            advice, text = "", text.strip()
            # How to pass the text as a string, if it looks like one.
            if text[:1] not in _STARTS_OF_JSON and len(text) <= _MAX_RETYPED:
                quoted = json.dumps("…" if secret else text, ensure_ascii=False)
                line = shlex.join([*given.words, quoted])
                advice = f"; to pass a string: manage.py flags {line}"
            problem = "not valid JSON: {problem}{advice}"
            raise InvalidArgumentError(problem, problem=str(error), advice=advice) from error


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

    def read(self, name: str, given: Given) -> dict[str, Any]:
        texts = list(dict.fromkeys([*given.options[name], *_lines(given.options["file"])]))
        if not texts:
            raise InvalidArgumentError("no users: pass USER or --file")
        table = allowed_user_table()
        pks = table.find_many(texts)
        if unknown := [text for text in texts if text not in pks]:
            problem = f"no user has the primary key or username {some(map(repr, unknown))}"
            if not given.options["skip_unknown"]:
                guess = table.guess(unknown[0]) if len(unknown) == 1 else ""
                raise FlagstaffError(
                    "{problem}; to skip unknown users, pass --skip-unknown{guess}",
                    problem=problem,
                    guess=guess,
                )
            given.say(f"skipped: {problem}")
        return {name: [pks[text] for text in texts if text in pks]}

    def form_field(self, label: str, *, required: bool) -> forms.Field:
        widget = forms.Textarea({"rows": 6, "spellcheck": "false", "autocapitalize": "none"})
        text = gettext("One user on each line, or with commas between them: %(name)s.")
        help_text = text % {"name": name_of_users()}
        return _UsersField(label=label, required=required, widget=widget, help_text=help_text)


class _UsersField(forms.CharField):
    """Users as a text of a page: one on each line, or with commas or tabs between them."""

    def to_python(self, value: object) -> Any:
        """Returns the primary keys. Raises ValidationError with those that are no users."""
        # With None, each end of a line becomes "\n".
        lines = StringIO(str(value or "").replace("\t", ","), newline=None)
        try:
            cells = chain.from_iterable(csv.reader(lines, skipinitialspace=True))
            names = list(dict.fromkeys(cell.strip() for cell in cells if cell.strip()))
        except csv.Error as error:
            text = _("This text cannot be read. Remove each double quote that is not closed.")
            raise ValidationError(text) from error
        pks = allowed_user_table().find_many(names)
        if unknown := [name for name in names if name not in pks]:
            raise ValidationError(unknown_users(unknown))
        return list(dict.fromkeys(pks[name] for name in names))


def name_of_users() -> str:
    """Returns what pages call the text that stands for a user, such as "Email or primary key"."""
    login = allowed_user_table().username_field
    if login is None:
        return gettext("Primary key")
    return gettext("%(field)s or primary key") % {"field": capfirst(login.verbose_name)}


def unknown_users(unknown: Sequence[str]) -> str:
    """Returns why these texts stand for no user, for a page. Queries the users."""
    table = allowed_user_table()
    _found, shared = table.by_username(unknown)
    missing = [text for text in unknown if text not in shared]
    sentences = []
    if missing:
        text = ngettext(
            "No user has this primary key or username: %(names)s.",
            "No users have these primary keys or usernames: %(names)s.",
            len(missing),
        )
        sentences.append(text % {"names": _listed(missing)})
    if len(missing) == 1 and (similar := table.similar(missing[0])):
        sentences.append(gettext("Did you mean “%(name)s”?") % {"name": similar})
    if shared:
        text = ngettext(
            "Several users have this username, so write a primary key: %(names)s.",
            "Several users have these usernames, so write primary keys: %(names)s.",
            len(shared),
        )
        sentences.append(text % {"names": _listed(sorted(shared))})
    return " ".join(sentences)


def _listed(names: Iterable[str]) -> str:
    return local_list(map(quoted, names), _MAX_LISTED)


def percent(text: str) -> int:
    """Parses a percentage such as "25" or "25%"."""
    digits = text.removesuffix("%").strip()
    if not (digits.isascii() and digits.isdigit() and int(digits) <= MAX_PERCENT):
        raise ArgumentTypeError(f"expected a whole number from 0 to {MAX_PERCENT}, not {text!r}")
    return int(digits)


#: A text.
Text: TypeAlias = Annotated[str, Argument("a text")]
#: A whole number from 0 to 100.
Percent: TypeAlias = Annotated[
    int, _Percentage(f"a whole number from 0 to {MAX_PERCENT}", "PERCENT", percent)
]


def standard_input() -> TextIO:
    """Returns the standard input. Raises InvalidArgumentError if it is closed."""
    if is_input_closed():
        raise InvalidArgumentError("standard input is closed: redirect a file to it")
    return sys.stdin


def is_input_closed() -> bool:
    """Whether the process has no standard input."""
    # Python sets it to None if the process starts without it.
    return sys.stdin is None or getattr(sys.stdin, "closed", False)


def text_of_file(name: str) -> str:
    """Returns the text of a file, or of the standard input. Raises InvalidArgumentError."""
    try:
        if name == "-":
            stdin = standard_input()
            # Also text is UTF-8, whatever the locale is.
            data = getattr(stdin, "buffer", stdin).read()
        else:
            data = Path(name).read_bytes()
        text: str = data if isinstance(data, str) else data.decode()
        return text.removeprefix("\ufeff")
    except OSError as error:
        text = "cannot read {name}: {problem}"
        raise InvalidArgumentError(text, name=name, problem=str(error.strerror)) from error
    except UnicodeDecodeError as error:
        text = "{name} is not UTF-8 text: byte {number} is not valid"
        raise InvalidArgumentError(text, name=name, number=error.start + 1) from error


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InvalidArgumentError("not valid JSON: {problem}", problem=str(error)) from error


def _lines(path: str | None) -> Iterator[str]:
    """Yields the lines of a file, or the first column of a CSV file."""
    if path is None:
        return
    text = text_of_file(path)
    for row in csv.reader(StringIO(text), skipinitialspace=True):
        if row and row[0].strip():
            yield row[0].strip()
