"""The receipt of an action: what was written, in a sentence, and how to take it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.http import HttpRequest
from django.utils.text import capfirst

from flagstaff._text import local_list, localized, quoted, say
from flagstaff.actions import Action, Done
from flagstaff.admin.action_admin import ActionAdmin
from flagstaff.admin.links import page_url, row_id, undo_url
from flagstaff.admin.look_tables import describe_changed, text_for_log
from flagstaff.admin.rights import may
from flagstaff.changes import Changed


@dataclass(frozen=True)
class Receipt:
    """What was done, as the message says it."""

    #: Empty if nothing was written.
    text: str
    undo_url: str = ""
    #: What the link says; without a text, that it undoes the change.
    undo_label: str = ""
    #: What was asked for, but is so already.
    unchanged: str = ""
    #: The URLs and texts of what a person may do next with a new row.
    links: Sequence[tuple[str, str]] = ()


_Result = TypeVar("_Result", Changed, Done)


class Receipts(Generic[_Result]):
    """Says what an action of rows has done, for what the actions of a kind of row return."""

    def __init__(self, admin: ActionAdmin, request: HttpRequest, action: Action) -> None:
        self.admin, self.request, self.action = admin, request, action

    def text_of(self, done: _Result) -> str:
        """Returns what was done to a row, for Django's log."""
        raise NotImplementedError

    def receipt(self, written: Sequence[_Result], rows: Sequence[Any], users: str) -> Receipt:
        """Returns what was done to the rows, and what `users` says of them."""
        raise NotImplementedError


class ChangeReceipts(Receipts[Changed]):
    """Those of rows with a history."""

    def text_of(self, done: Changed) -> str:
        """Returns the fields that were written."""
        return text_for_log(self.request, done)

    def receipt(self, written: Sequence[Changed], rows: Sequence[Any], users: str) -> Receipt:
        """Returns which rows were added, deleted or changed."""
        admin, request, action = self.admin, self.request, self.action
        unchanged = ""
        changed = [change for change in written if change.written]
        if same := [change.key for change in written if not change.written]:
            text = say(
                "Nothing was changed: {keys} already has these values.",
                "Nothing was changed: {keys} already have these values.",
            )
            unchanged = say(text, count=len(same), keys=local_list(map(quoted, same))).local
        if not changed:
            return Receipt("", unchanged=unchanged)
        values: dict[str, Any] = {
            "count": len(changed),
            "keys": local_list(quoted(change.key) for change in changed),
        }
        undone, sentences = [change for change in changed if change.version], []
        if action.creates:
            text = say("{keys} was added.")
            undone = undone if may(admin.admin_site, request, "delete", rows[0]) else []
        elif action.deletes:
            text = say("{keys} was deleted.", "{keys} were deleted.")
            undone = undone if may(admin.admin_site, request, "add", admin.model) else []
        else:
            text = say("{keys} was changed.", "{keys} were changed.")
            undone = [change for change in undone if change.undo is not None and not change.secret]
            if len(changed) == 1:
                text = say("“{key}” was changed: {change}.")
                change = describe_changed(self.request, changed[0])
                values = {"key": changed[0].key, "change": change}
                sentences.append(users)
        url = undo_url(admin.admin_site, [change.version for change in undone if change.version])
        links = admin.next_steps(request, rows[0]) if action.creates else ()
        return Receipt(
            " ".join(filter(None, [say(text, **values).local, *sentences])),
            url,
            unchanged=unchanged,
            links=links,
        )


class AppReceipts(Receipts[Done]):
    """Those of a row of an app."""

    def text_of(self, done: Done) -> str:
        """Returns its messages."""
        return " ".join(map(str, done.messages))

    def receipt(self, written: Sequence[Done], rows: Sequence[Any], users: str) -> Receipt:
        """Returns what was done to the row, and the action that takes it back."""
        admin, action, [done], [row] = self.admin, self.action, written, rows
        # What has happened is stored, and shown in English.
        text = " ".join(_sentence(done, localized(message)) for message in done.messages)
        if action.deletes:
            was_deleted = say("{keys} was deleted.", "{keys} were deleted.")
            text = say(was_deleted, count=1, keys=quoted(done.key)).local
        if not done.written:
            return Receipt("", unchanged=text)
        # Others may gain nothing.
        if not (users or action.creates or action.deletes):
            users = admin.summary(row)
        # What was done may say it already.
        if users.casefold() in text.casefold():
            users = ""
        url = label = ""
        if done.undo is not None and not action.deletes:
            _kind, name, *_more = done.undo.arguments
            undo = admin.page_actions[name]
            if admin.may_do(self.request, undo, row):
                url = page_url(admin.admin_site, admin.model, name, row_id(row))
                label = f"{undo.label}…" if done.instead else ""
        return Receipt(" ".join(filter(None, [text, users])), url, label)


def _sentence(done: Done, text: str) -> str:
    prefix, name = f"{done.key}: ", done.title or done.key
    # Django capitalises the first letter of a message: a key must not come first.
    if text.startswith(prefix):
        rest = text.removeprefix(prefix).removeprefix(f"{name}: ")
        text = f"{quoted(name)}: {rest}"
    return f"{capfirst(text).removesuffix('.')}."
