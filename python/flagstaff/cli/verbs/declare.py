"""Prints declarations of what the database or django-constance has, and writes those of code."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.encoding import force_str

from flagstaff._code.project import declared_keys
from flagstaff._declared_types import TYPES
from flagstaff._tables.rows import BUCKET_BY, all_rows, unknown_key
from flagstaff._text import some
from flagstaff.actions import Done
from flagstaff.changes import combined_undo
from flagstaff.changes.row_changes import write_declared_rows
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import add_attribution
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, option, switch, verb
from flagstaff.conf import conf
from flagstaff.history.describe import describe_change

_MAX_LINE = 88
_HEAD = '"""The flags and values that the code declares."""\n'
# The default of a secret value, which code must not show.
_EMPTY = {"integer": 0, "number": 0.0, "boolean": False, "array": [], "object": {}}
# Types that a value can have, beside those of JSON. Their code begins with a module's name.
_MODULES = {
    Decimal: "from decimal import Decimal",
    dt.date: "import datetime",
    dt.datetime: "import datetime",
    dt.timedelta: "import datetime",
}


@dataclass
class _Declaration:
    """A declaration, as code has it."""

    #: `Flag` or `Value`.
    of: str
    key: str
    #: The default of a value, and the description.
    positional: Sequence[object]
    #: Further arguments; those that are empty are left out.
    named: Mapping[str, object] = field(default_factory=dict)
    comment: str = ""
    #: The name that code has for it already; empty for one that is made of the key.
    name: str = ""

    def objects(self) -> Iterator[object]:
        yield from self.positional
        yield from self.named.values()

    def code(self, name: str) -> str:
        """Returns the assignment of the declaration to a name."""
        positional = [*self.positional]
        if positional[-1] == "":  # no description
            positional.pop()
        named = [f"{word}={_code(value)}" for word, value in self.named.items() if value]
        arguments = [_code(self.key), *map(_code, positional), *named]
        line = f"{name} = {self.of}({', '.join(arguments)})"
        if len(line) > _MAX_LINE:
            lines = "".join(f"    {argument},\n" for argument in arguments)
            line = f"{name} = {self.of}(\n{lines})"
        return f"# {self.comment}\n{line}" if self.comment else line


@verb(
    "declare > shop/flags.py",
    "declare new_checkout page_size",
    "declare --constance > shop/flags.py",
    'declare --write-rows --reason "release 42"',
    topic=Topic.FILES,
    arguments=(
        option("keys", "a key; without one, all that code does not declare", "KEY", nargs="*"),
        switch("--constance", "instead, the settings of django-constance: CONSTANCE_CONFIG"),
        switch(
            "--write-rows",
            "print nothing, but create the rows that declared keys lack, and write the texts of "
            "the others, for SQL and for the admin of another service",
        ),
        add_attribution,
        lambda parser: parser.set_defaults(
            needs_reason=lambda options, _out: options["write_rows"]
        ),
    ),
)
def declare(options: Options, out: Output) -> Done | None:
    """Print the flags.py that declares the flags and values of the database.

    The default of a value is what it is now, unless it is secret. Who has a flag stays in the
    database.
    """
    if options["keys"] and (options["constance"] or options["write_rows"]):
        raise CommandError("a KEY selects rows to print: omit it", returncode=USAGE)
    if options["write_rows"]:
        return _write()
    _print(options, out)
    return None


def _write() -> Done:
    changed = write_declared_rows()
    messages = [f"{change.key}: {describe_change(change)}" for change in changed]
    record = {"written": [{"kind": change.kind.value, "key": change.key} for change in changed]}
    notes = [] if changed else ["every declared key has its row"]
    return Done("", messages, record, combined_undo(changed), bool(changed), notes=notes)


def _print(options: Options, out: Output) -> None:
    keys = [*dict.fromkeys(options["keys"])]
    declared = {key for keys in declared_keys().values() for key in keys}
    declarations = [*(_of_constance() if options["constance"] else _of_rows(keys))]
    if missing := [
        key for key in keys if key not in {declaration.key for declaration in declarations}
    ]:
        raise unknown_key(missing[0])
    new = [declaration for declaration in declarations if declaration.key not in declared]
    if out.is_json:
        out.document({"code": _file(new)})
        return
    out.line(_file(new).rstrip("\n"))
    if len(new) < len(declarations):
        old = (declaration.key for declaration in declarations if declaration.key in declared)
        out.message(f"declared already: {some(old)}")


def _file(declarations: Sequence[_Declaration]) -> str:
    """Returns a file that declares all of them. Names that are equal get a number."""
    classes = sorted({declaration.of for declaration in declarations})
    objects = [value for declaration in declarations for value in declaration.objects()]
    types = {value if isinstance(value, type) else type(value) for value in _flat(objects)}
    modules = {_MODULES[used] for used in types if used in _MODULES}
    own = [f"from flagstaff import {', '.join(classes)}"] if classes else []
    lines: list[str] = []
    names: set[str] = set()
    for declaration in declarations:
        name = _name(declaration.name or declaration.key.upper(), names)
        names.add(name)
        lines.append(declaration.code(name))
    blocks = ["\n".join(sorted(modules, key=lambda line: line.split()[1])), "\n".join(own)]
    return "\n".join([_HEAD, *(f"{block}\n" for block in blocks if block), *lines, ""])


def _name(text: str, taken: Collection[str]) -> str:
    """Returns the name of a constant, as similar to a text as possible."""
    name = re.sub(r"\W", "_", text)
    name = name if name.isidentifier() else f"KEY_{name}"
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def _code(value: object) -> str:
    """Returns a value as code."""
    if isinstance(value, str):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_code, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_code(name)}: {_code(item)}' for name, item in value.items())}}}"
    if isinstance(value, Decimal):
        return f'Decimal("{value}")'
    if isinstance(value, dt.datetime) and value.tzinfo:
        value = value.astimezone(dt.timezone.utc)
    if isinstance(value, type):
        return (
            value.__qualname__ if value.__module__ != "datetime" else f"datetime.{value.__name__}"
        )
    return repr(value)


def _flat(values: Sequence[object]) -> Iterator[object]:
    for value in values:
        yield from _flat(value) if isinstance(value, list) else [value]


# The rows.


def _of_rows(keys: Sequence[str]) -> Iterator[_Declaration]:
    """Yields the declarations of rows, flags first. Two queries."""
    for model, declared in ((conf.flag_model, _of_flag), (conf.value_model, _of_value)):
        rows = all_rows(model).order_by("key")
        for row in rows.filter(key__in=keys) if keys else rows:
            yield declared(row)


def _of_flag(row: Any) -> _Declaration:
    named = {
        "owner": row.owner,
        "tags": row.tags,
        "kind": "" if row.kind == "release" else row.kind,
        "review_on": row.review_on and row.review_on.isoformat(),
        **_of_both(row),
    }
    return _Declaration("Flag", row.key, [row.description], named)


def _of_value(row: Any) -> _Declaration:
    value, choices = row.value, row.choices
    if row.type == "number":
        value, choices = float(value), [*map(float, choices)]
    if row.secret:
        value, choices = _EMPTY.get(row.type, ""), []
    if any(type(choice) is not type(value) for choice in choices):
        choices = []
    named = {"choices": choices, "secret": row.secret, **_of_both(row)}
    comment = "Secret: choose a default that everybody may read." if row.secret else ""
    return _Declaration("Value", row.key, [value, row.description], named, comment)


def _of_both(row: Any) -> dict[str, object]:
    unit = getattr(row, BUCKET_BY)
    return {BUCKET_BY: "" if unit == "user" else unit, "client_side": row.client_side}


# The settings of django-constance.


def _of_constance() -> Iterator[_Declaration]:
    config: Mapping[str, Sequence[Any]] | None = getattr(settings, "CONSTANCE_CONFIG", None)
    if config is None:
        raise CommandError("the settings have no CONSTANCE_CONFIG", returncode=USAGE)
    fields: Mapping[str, Any] = getattr(settings, "CONSTANCE_ADDITIONAL_FIELDS", {})
    groups = {name: group for group, names in _fieldsets() for name in names}
    for name, (default, description, *kind) in config.items():
        python_type = kind[0] if kind and isinstance(kind[0], type) else type(default)
        value = _usable(default)
        named: dict[str, object] = {}
        if value is None:
            named["type"] = python_type if python_type in TYPES else str
        # A field that the settings describe: its class, and its arguments.
        _field, *arguments = fields.get(kind[0], ["", {}]) if kind and kind[0] in fields else [""]
        options = [value for value, _label in _choices(arguments)]
        if value in options:
            named["choices"] = [_usable(option) for option in options if option is not None]
        named["group"] = groups.get(name, "")
        key = name.lower() if name.isupper() else name
        texts = [value, force_str(description)]
        yield _Declaration("Value", key, texts, named, name=name)


def _fieldsets() -> Iterator[tuple[str, Sequence[str]]]:
    """Yields the headings of the settings with the names below each."""
    fieldsets: Any = getattr(settings, "CONSTANCE_CONFIG_FIELDSETS", {})
    for group, names in fieldsets.items() if isinstance(fieldsets, Mapping) else fieldsets:
        yield force_str(group), names["fields"] if isinstance(names, Mapping) else names


def _choices(arguments: Sequence[Any]) -> Iterator[tuple[object, object]]:
    """Yields the choices of a field with their labels, without those of groups of choices."""
    for options in arguments:
        for pair in options.get("choices", ()):
            value, label = pair
            yield from label if isinstance(label, list | tuple) else [(value, label)]


def _usable(value: object) -> Any:
    """Returns a value of a type that a declaration can have; of others, JSON, or else the text."""
    if value is None or (type(value) in TYPES and not isinstance(value, list | dict)):
        return value
    try:
        return json.loads(json.dumps(value, cls=DjangoJSONEncoder))
    except TypeError:  # a class of the project
        return force_str(value)
