"""The comparison of an uploaded file with the database, and the import of selected differences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from flagstaff import serialization
from flagstaff._tables.rows import Kind, declaration
from flagstaff._text import local_list, localized, quoted, say
from flagstaff.actions import Action
from flagstaff.actions.commit import look_at_changes
from flagstaff.actions.table import Line, Look, Right, Run, Written, is_toggle, right_of
from flagstaff.admin.action_page import ActionAdmin, ActionPage, ArgumentForm, Receipt
from flagstaff.admin.base_admin import Content, Page
from flagstaff.admin.links import BACK, page_link, page_title, page_url, row_id, undo_url
from flagstaff.admin.looks import MAX_TEXT, describe_changed, tables_of, text_for_log
from flagstaff.admin.rights import admin_of, denied, hidden_rows, may
from flagstaff.admin.words import KIND_LABELS, Column, Table, key_link, link, two_lines
from flagstaff.changes import Changed
from flagstaff.changes.fields import ALLOWED
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import SideLine, field_label, may_see_users, names_of_users
from flagstaff.models import WaitingAction
from flagstaff.validators import SECRET
from flagstaff.waiting.rights import is_approval_needed

# The key of the session, and the largest file in bytes: a session is read by each request.
_FILE, _MAX_SIZE = "flagstaff_compare", 2**20
# A server reads no longer address.
_MAX_URL = 4_000
# The action, and its argument, that sets a field to what the file has. Others open the details.
_ACTIONS: Mapping[tuple[Kind, str], tuple[str, str]] = {
    (Kind.FLAG, "rollout_percent"): ("rollout", "percent"),
    (Kind.FLAG, "rules"): ("rules", "rules"),
    (Kind.FLAG, "bucket_by"): ("unit", "bucket_by"),
    (Kind.VALUE, "value"): ("set", "value"),
    (Kind.VALUE, "rules"): ("rules", "rules"),
    (Kind.VALUE, "bucket_by"): ("rules", "bucket_by"),
    (Kind.SEGMENT, "conditions"): ("conditions", "conditions"),
}
# Of a row that is only here, and of a list, which has a page of its own.
_WITHOUT_ARGUMENT = {"": "delete", ALLOWED: "allowed_users"}
_NOTHING_SELECTED = say("Select differences that you may import.")
# For rows of all kinds, so no table of actions has it.
_IMPORT = Action(
    Kind.FLAG,
    "import",
    "",
    "",
    cast("Any", serialization.apply),
    (),
    say("Import").lazy,
    can_wait=False,
)


class Compare(Page):
    """Users see what differs between a file and the rows that they may view."""

    name = "compare"
    template = "flagstaff/compare.html"
    docs_page = "how-to/environments/"

    def post(self) -> HttpResponse:
        """Keeps a file in the session, forgets it, or imports what is selected."""
        request = self.request
        if ACTION_CHECKBOX_NAME in request.POST and (document := self._document()):
            subject = ImportSubject(self, document, request.POST.getlist(ACTION_CHECKBOX_NAME))
            return ActionPage(self.admin, request, subject).answer()
        uploaded, problem = request.FILES.get("file"), ""
        if uploaded is not None or "forget" in request.POST:
            request.session.pop(_FILE, None)
            problem = "" if uploaded is None else self._keep(cast("Any", uploaded))
        elif self._document():
            problem = _NOTHING_SELECTED.local
        if problem:
            self.admin.message_user(request, problem, messages.ERROR)
        return HttpResponseRedirect(request.path)

    def _keep(self, uploaded: Any) -> str:
        """Keeps a file in the session. Returns why that is not possible, or ""."""
        if settings.SESSION_ENGINE.endswith("signed_cookies"):
            return say("The sessions of this site are cookies, which cannot hold a file.").local
        if uploaded.size > _MAX_SIZE:
            return say("The file is larger than 1 MB. Use “flags diff” in a terminal.").local
        try:
            text = uploaded.read().decode("utf-8-sig")
            serialization.diff(serialization.read(text), compare_secrets=False)
        except UnicodeDecodeError:
            return say("The file is not UTF-8 text.").local
        except FlagstaffError as error:
            return say("Not compared: {problem}.", problem=error.message).local
        self.request.session[_FILE] = {"name": str(uploaded.name)[:100], "text": text}
        return ""

    def _document(self) -> dict[str, Any] | None:
        """Returns what the user may see of the file: hidden rows and users are not compared."""
        kept = self.request.session.get(_FILE)
        if kept is None:
            return None
        document = serialization.read(kept["text"])
        for kind, section in serialization.SECTIONS.items():
            is_shown = admin_of(self.site, kind.model) is not None
            if not (is_shown and may(self.site, self.request, "view", kind.model)):
                document.pop(section, None)
            hidden = {*hidden_rows(self.site, self.request, kind.model).values()}
            for key in hidden.intersection(document.get(section, ())):
                del document[section][key]
        if not may_see_users(self.request.user):
            for flag in document.get("flags", {}).values():
                flag.pop(ALLOWED, None)
        return document

    def differences(self, document: Mapping[str, Any]) -> serialization.Compared:
        """Returns what differs of the rows that the user may see."""
        compared = serialization.diff(document, compare_secrets=False)
        shown = {
            place: change
            for place, change in compared.changed.items()
            if place[1] not in hidden_rows(self.site, self.request, place[0].model).values()
        }
        return replace(compared, changed=shown)

    def content(self) -> Content:
        """A line for each field that differs, with a link to the action that changes it."""
        document = self._document()
        if document is None:
            text = say("Upload a file of “flags export”, such as of staging.").local
            return Content(sentence=text)
        compared = self.differences(document)
        names = (
            names_of_users(compared.changed.values()) if may_see_users(self.request.user) else {}
        )
        rows = [
            self._row(kind, key, line, compared.changed.get((kind, key)))
            for kind, key, line in compared.lines(names, limit=MAX_TEXT)
        ]
        columns = [
            Column(say("Key").local),
            Column(say("Difference").local),
            Column(say("Action").local),
        ]
        empty = say("Nothing differs.").local
        file = self.request.session[_FILE]["name"]
        return Content(
            sentence=say("“There” is {file}, “here” is this database.", file=file).local,
            tables=[Table(columns, rows, empty=empty)],
            remarks=[*map(localized, compared.notes())],
        )

    def _row(
        self, kind: Kind, key: str, line: SideLine, change: Changed | None
    ) -> tuple[str, str, str]:
        row = change.before.row if change is not None and change.before else None
        if change is None or row is None:
            return two_lines(key_link(key), str(KIND_LABELS[kind])), line.text, self._new(kind, key)
        url = page_url(self.site, kind.model, "change", row_id(row))
        name: str = two_lines(key_link(key, url), str(KIND_LABELS[kind]))
        right: Right = "toggle" if is_toggle(kind, {line.field}) else "change"
        text = two_lines(line.text, field_label(line.field)) if line.field else line.text
        if why := self._why_fixed(kind, line.field, row):
            return name, text, why
        if line.field not in {"", SECRET} and may(self.site, self.request, right, row):
            box = '<label><input type="checkbox" name="{}" value="{}"> {}</label>'
            place = _selected(kind, key, line.field)
            name = format_html(box, ACTION_CHECKBOX_NAME, place, name)
        return name, text, self._action(kind, line.field, row, (change.new or {}).get(line.field))

    def _why_fixed(self, kind: Kind, field: str, row: Any) -> str:
        """Returns why nobody changes a field of a row here; "" if that is possible."""
        admin = cast("ActionAdmin", admin_of(self.site, kind.model))
        if field not in admin.get_readonly_fields(self.request, row):
            return ""
        declared = declaration(kind.model, row.key)
        if declared is not None and field in declared.owned:
            return say("declared in {place}", place=declared.place.path).local
        return say("This site has made the field read-only.").local

    def _action(self, kind: Kind, field: str, row: Any, new: object) -> str:
        """Returns a link to the page that gives a field of a row the value of the file."""
        name, argument = _ACTIONS.get((kind, field), ("details", ""))
        if field in _WITHOUT_ARGUMENT:
            name = _WITHOUT_ARGUMENT[field]
        elif field == "enabled":
            name = "on" if new else "off"
        admin = cast("ActionAdmin", admin_of(self.site, kind.model))
        # The page of the allowed users adds and removes them.
        action = admin.page_actions.get("allow" if field == ALLOWED else name)
        if action is None or not admin.may_do(self.request, action, row):
            return ""
        is_json = field in {"rules", "value", "conditions"}
        arguments = {argument: json.dumps(new) if is_json else new} if argument else {}
        query = urlencode({**arguments, BACK: self.request.path})
        url = f"{page_url(self.site, kind.model, name, row_id(row))}?{query}"
        return link(url, f"{action.label}…") if len(url) < _MAX_URL else ""

    def _new(self, kind: Kind, key: str) -> str:
        """Returns a link to the page that creates a row."""
        if not may(self.site, self.request, "add", kind.model):
            return ""
        url = f"{page_url(self.site, kind.model, 'add')}?{urlencode({'key': key})}"
        return link(url, say("Add…").local)


def _selected(kind: Kind, key: str, field: str) -> str:
    """Returns what stands for a field of a row in a form."""
    return f"{kind.value} {field} {key}"


class ImportSubject:
    """The import of selected fields of rows that exist, in one transaction."""

    is_urgent = is_danger = waits_for_workers = can_wait = can_end = False
    needs_reason = True
    versions: list[str] | None = None
    again: WaitingAction | None = None

    def __init__(self, page: Compare, document: Mapping[str, Any], selected: Sequence[str]) -> None:
        self.page, self.site, self.request = page, page.site, page.request
        self.form, self.selected = ArgumentForm({}), selected
        self.document: dict[str, Any] = {"flagstaff": document["flagstaff"]}
        for (kind, key), change in page.differences(document).changed.items():
            fields = {
                name: value
                for name, value in document[serialization.SECTIONS[kind]].get(key, {}).items()
                if _selected(kind, key, name) in selected
                and name != SECRET
                and not change.hides(name)
            }
            if fields and change.action == "change":
                self.document.setdefault(serialization.SECTIONS[kind], {})[key] = fields

    def run(self) -> Run:
        """The import. Another file is another question."""
        return Run(_IMPORT, [], [], {"document": self.document})

    def look(self, run: Run, at: datetime | None) -> Look | None:
        """What it would do; None if nothing is selected, or if it needs an approval."""
        planned = serialization.apply(self.document, skip_unknown_users=True, dry_run=True)
        changed = [*planned.changed.values()]
        rows = [cast("Any", change.before).row for change in changed]
        for row, change in zip(rows, changed, strict=True):
            admin = cast("Any", admin_of(self.site, change.kind.model))
            readonly = {*admin.get_readonly_fields(self.request, row)}
            right = right_of(change)
            is_readonly = readonly & {*(change.new or ())}
            if is_readonly or not may(self.site, self.request, right, row):
                raise denied(self.request, right, row)

        def write(expected: Mapping[Any, Any]) -> list[Changed]:
            done = serialization.apply(self.document, skip_unknown_users=True, **expected)
            return [*done.changed.values()]

        look = look_at_changes(changed, write, viewer=self.request.user)
        if not changed:
            self.form.add_error(None, _NOTHING_SELECTED.local)
        elif is_approval_needed(run, rows, look.largest_consequence):
            text = say("This needs an approval: use the links of the single lines.").local
            self.form.add_error(None, text)
        else:
            return replace(look, asks=True, rows=rows, expected={"expect_plan": planned.plan})
        return None

    def newer_texts(self, _shown: Sequence[str]) -> Iterator[str]:
        """Nothing: the plan that was shown is the one that is written."""
        return iter(())

    def notes(self, look: Look | None) -> list[str]:
        """Who gains and who loses."""
        return [] if look is None else [*filter(None, [look.users_text()]), *look.notes]

    def tables(self, look: Look) -> Sequence[tuple[Sequence[Line], object]]:
        """A line for each row."""
        return tables_of(self.site, self.request, look, say("Key").local)

    def words(self, _run: Run | None) -> Mapping[str, Any]:
        """The heading, the button, and the selection, which is posted again."""
        title = say("Import what is selected").local
        sections = serialization.SECTIONS.values()
        keys = [key for section in sections for key in self.document.get(section, ())]
        return {
            "title": title,
            "button": title,
            "subject": local_list(keys),
            "original": local_list(keys),
            "crumbs": [(self.back_url(), page_title("compare"))],
            "posted": [(ACTION_CHECKBOX_NAME, text) for text in self.selected],
        }

    def back_url(self, *, is_done: bool = False) -> str:
        """The page of the comparison."""
        return page_link(self.site, self.request, "compare")

    def log(self, written: Written) -> None:
        """Adds what was imported to Django's log."""
        for change in cast("Sequence[Changed]", written):
            admin = cast("Any", admin_of(self.site, change.kind.model))
            row = cast("Any", change.after).row
            admin.log_change(self.request, row, text_for_log(self.request, change))

    def receipt(self, written: Written, look: Look | None) -> Receipt:
        """What was imported, and how to undo it."""
        changes = cast("Sequence[Changed]", written)
        texts = [f"{quoted(each.key)}: {describe_changed(self.request, each)}" for each in changes]
        text = say("Imported: {changes}.", changes=local_list(texts)).local
        return Receipt(
            text, undo_url(self.site, [each.version for each in changes if each.version])
        )
