"""The page of workers: one sentence, and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils import timezone
from django.utils.html import format_html

from flagstaff._tables.database import db
from flagstaff._text import localized, say
from flagstaff._text.times import duration, local_time_text
from flagstaff._workers.register import Worker, Workers, read_workers
from flagstaff._workers.status import MODE_TEXTS, notes, state_label, summary, worker_label
from flagstaff.admin.base_admin import Content, Page
from flagstaff.admin.words import Column, Table, badge, key_link, time_cell, two_lines
from flagstaff.conf import conf

_STATES = {True: "behind", False: "up to date", None: "unknown"}


class WorkersPage(Page):
    """Users who may view flags see the workers."""

    name = "workers"
    docs_page = "how-to/propagation/"

    def content(self) -> Content:
        """The workers. Makes one query."""
        if not db.is_postgresql:
            text = say(
                "Workers can be listed only on PostgreSQL. Here, every evaluation queries the "
                "database."
            ).local
            return Content(notes=[text])
        register = read_workers()
        state = _STATES[register.is_behind]
        modes = dict.fromkeys(worker.mode for worker in register.registered)
        text = say("State at {at}.", at=local_time_text(timezone.now())).local
        titles = (
            say("Worker").local,
            say("State").local,
            say("Last report").local,
            say("Mode").local,
            say("First report").local,
        )
        table = Table([*map(Column, titles)], [*map(_row, register.registered)])
        return Content(
            sentence=format_html(
                "{} {} {}",
                badge(state, localized(state_label(register.is_behind))),
                localized(summary(register)),
                text,
            ),
            notes=[*_notes(register)],
            tables=[table] if table.rows else [],
            remarks=[
                *(f"{mode}: {MODE_TEXTS[mode]}" for mode in modes),
                say("A worker registers after its first evaluation.").local,
                *_replicated(register),
            ],
        )


def _notes(register: Workers) -> Iterator[str]:
    yield from map(localized, notes(register))
    if register.is_behind:
        yield say(
            "A worker that polls is behind for up to {seconds} s after each change. A worker "
            "that stays behind hangs, is suspended, or cannot load the flags; it evaluates from "
            "its last snapshot. Read its log, run “manage.py flags status” on its host, and "
            "restart it.",
            seconds=f"{conf.poll_interval:g}",
        ).local


def _replicated(register: Workers) -> Iterator[str]:
    if any(worker.is_replicated for worker in register.registered):
        yield say(
            "Workers that read a replica of the database report about every two minutes, and after "
            "a kill or “--wait”."
        ).local


def _row(worker: Worker) -> Sequence[str]:
    state = _STATES[worker.is_behind] if worker.is_expected else "lost"
    age = localized(duration(worker.seen_seconds, largest_only=True))
    place = ", ".join(filter(None, [worker.region, f"pid {worker.pid}"]))
    return [
        two_lines(key_link(worker.host), place),
        badge(state, localized(worker_label(worker))),
        say("{time} ago", time=age).local,
        worker.mode,
        time_cell(worker.started_at),
    ]
