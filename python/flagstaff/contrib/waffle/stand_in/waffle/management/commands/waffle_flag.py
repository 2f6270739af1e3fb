from __future__ import annotations

from argparse import SUPPRESS
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import Q

from waffle import get_waffle_flag_model

_COLUMNS = ("everyone", "percent", "superusers", "staff", "authenticated", "rollout", "testing")


class Command(BaseCommand):
    help = "Modify a flag."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("name", nargs="?", help="The name of the flag.")
        add("-l", "--list", action="store_true", dest="list_flags", help="List existing flags.")
        # A column that the call does not name has no option, so it keeps its value.
        column = partial(add, default=SUPPRESS)
        column("--everyone", action="store_true", help="Activate flag for all users.")
        text = "Deactivate flag for all users."
        column("--deactivate", action="store_false", dest="everyone", help=text)
        column("--percent", "-p", type=int, help="Roll out the flag for a percentage of users.")
        column("--superusers", action="store_true", help="Turn on the flag for superusers.")
        column("--staff", action="store_true", help="Turn on the flag for staff.")
        column("--authenticated", action="store_true", help="Turn on the flag for logged in users.")
        column("--rollout", "-r", action="store_true", help="Turn on rollout mode.")
        column("--testing", "-t", action="store_true", help="Allow browsers to set the flag.")
        add("--group", "-g", action="append", default=[], help="The groups; see --append.")
        add("--user", "-u", action="append", default=[], help="The users; see --append.")
        add("--append", action="store_true", help="Keep present groups and users.")
        add("--create", action="store_true", help="Create the flag if it does not exist.")

    @transaction.atomic
    def handle(self, *_args: Any, **options: Any) -> None:
        rows: Any = get_waffle_flag_model()._default_manager
        if options["list_flags"]:
            self.stdout.write("Flags:")
            for row in rows.iterator():
                self._print(row)
            return
        name = options["name"]
        if not name:
            raise CommandError("You need to specify a flag name.")
        row = rows.filter(name=name).first()
        if row is None and not options["create"]:
            raise CommandError("This flag does not exist.")
        if row is None:
            self.stdout.write(f"Creating flag: {name}")
            # As in waffle, only --superusers gives a flag to superusers.
            row = rows.create(name=name, superusers=False)
        users: Any = get_user_model()
        emails = users.get_email_field_name()
        self._relate(row, "group", Group, ("name",), options)
        self._relate(row, "user", users, (users.USERNAME_FIELD, emails), options)
        if "everyone" not in options and row.everyone:
            # As in waffle, the others decide now; but a flag that is off for everyone stays off.
            options["everyone"] = None
        for column in _COLUMNS:
            if column in options:
                self.stdout.write(f"Setting {column}: {options[column]}")
                setattr(row, column, options[column])
        row.save()

    def _relate(self, row: Any, kind: str, model: Any, names: Any, options: Any) -> None:
        """Sets or adds the groups or the users of a flag, which are found by one of the names."""
        related_rows = []
        for text in options[kind]:
            is_named = Q(*((name, text) for name in names), _connector=Q.OR)
            related_row = model._default_manager.filter(is_named).first()
            if related_row is None:
                raise CommandError(f"{kind.capitalize()} {text} does not exist")
            related_rows.append(related_row)
        if related_rows:
            related = getattr(row, f"{kind}s")
            if not options["append"]:
                related.clear()
            related.add(*related_rows)
            self.stdout.write(
                f"Setting {kind}(s): {[str(related_row) for related_row in related_rows]}"
            )

    def _print(self, row: Any) -> None:
        for column in ("name", *_COLUMNS):
            self.stdout.write(f"{column.upper()}: {getattr(row, column)}")
        for relation in ("groups", "users"):
            names = [str(related_row) for related_row in getattr(row, relation).all()]
            self.stdout.write(f"{relation.upper()}: {names}")
        self.stdout.write("")
