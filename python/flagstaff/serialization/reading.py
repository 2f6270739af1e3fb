"""A text → a document, with everything that is wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flagstaff._text.storable import is_storable
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.exceptions import DocumentError
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import FORMAT, SECTIONS, Document, Entry, UserRef
from flagstaff.serialization.fields import exported_fields, parse
from flagstaff.serialization.formats import Format, as_tree
from flagstaff.serialization.problems import Path, Problem, Problems

__all__ = ["read"]

_HEAD, _PARTIAL, _VERSION = "flagstaff", "partial", "version"


def read(text: str, format: Format) -> Document:  # noqa: A002 (as the option is called)
    """What a text says of flags and values.

    Raises DocumentError where it cannot be read at all. Whatever else is wrong is in `problems`,
    and `difference` and `apply` raise it together with what only the database can tell.
    """
    problems = Problems()
    tree = as_tree(text, format, problems)
    _need_head(tree, problems)
    for name in tree:
        if name not in (_HEAD, _PARTIAL, *SECTIONS.values()):
            problems.add((name,), "is no part of this format")
    kinds = [kind for kind, name in SECTIONS.items() if name in tree]
    entries = [entry for kind in kinds for entry in _entries(kind, tree, problems)]
    partial = tree.get(_PARTIAL, False)
    if not isinstance(partial, bool):
        problems.add((_PARTIAL,), "is true or false")
    return Document(tuple(entries), frozenset(kinds), partial is not False, problems)


def _need_head(tree: Any, problems: Problems) -> None:
    """Of another format nothing else can be said."""
    number = tree.get(_HEAD) if isinstance(tree, dict) else None
    if type(number) is int and number == FORMAT:
        return
    if type(number) is int and number > FORMAT:
        text = f'is of version {number}, and this flagstaff reads version "{_HEAD}: {FORMAT}"'
    else:
        text = f'does not say "{_HEAD}: {FORMAT}" at its top, and so is no file of flags'
    raise DocumentError([*problems.found, Problem((), text)])


def _entries(kind: Kind, tree: dict[str, Any], problems: Problems) -> Iterator[Entry]:
    name = SECTIONS[kind]
    section = tree[name]
    if section is None:
        return
    if not isinstance(section, dict):
        problems.add((name,), "is a mapping from keys to fields")
        return
    for key, said in section.items():
        if not is_storable(key):
            continue
        if isinstance(said, dict):
            yield _entry(kind, key, said, problems)
        else:
            problems.add_first((name, key), "is a mapping from fields to what they hold")


def _entry(kind: Kind, key: str, said: dict[str, Any], problems: Problems) -> Entry:
    path: Path = (SECTIONS[kind], key)
    known, fields = exported_fields(kind), {}
    for name, value in said.items():
        if problems.is_told_at((*path, name)):
            continue
        if name in known:
            try:
                parse(known[name], value)
            except ValueError as error:
                problems.add((*path, name), str(error))
            else:
                fields[name] = value
        elif name != _VERSION and not (name == ALLOWED and kind is Kind.FLAG):
            problems.add((*path, name), f"a {kind.value} has no such field")
    has_users = kind is Kind.FLAG and ALLOWED in said
    users = _users((*path, ALLOWED), said[ALLOWED], problems) if has_users else None
    return Entry(kind, key, fields, users, _version(path, said, problems))


def _version(path: Path, said: dict[str, Any], problems: Problems) -> int | None:
    version = said.get(_VERSION)
    if _VERSION in said and (type(version) is not int or version < 0):
        problems.add((*path, _VERSION), "is a whole number, as `export --versions` writes it")
        return None
    return version


def _users(path: Path, said: Any, problems: Problems) -> tuple[UserRef, ...] | None:
    if not isinstance(said, list):
        problems.add_first(path, "is a list of users")
        return None
    refs: dict[UserRef, None] = {}
    for place, user in enumerate(said):
        if problems.is_told_at((*path, place)):
            continue
        ref = _user(user)
        if ref is None:
            wanted = "is a username, or a primary key as in {pk: 42}"
            problems.add((*path, place), wanted)
        elif ref in refs:
            problems.add((*path, place), f"names {ref} a second time")
        else:
            refs[ref] = None
    return tuple(refs)


def _user(said: Any) -> UserRef | None:
    if isinstance(said, str) and said:
        return UserRef(name=said)
    pk = said.get("pk") if isinstance(said, dict) and set(said) == {"pk"} else said
    is_pk = type(pk) is int or (isinstance(pk, str) and pk and isinstance(said, dict))
    return UserRef(pk=pk) if is_pk else None
