from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from waffle import get_waffle_sample_model

_ALL = 100


class Command(BaseCommand):
    help = "Change percentage of a sample."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="The name of the sample.")
        parser.add_argument(
            "percent",
            nargs="?",
            type=int,
            help="The percentage of the time this sample will be active.",
        )
        parser.add_argument(
            "-l",
            "--list",
            action="store_true",
            dest="list_samples",
            help="List existing samples.",
        )
        parser.add_argument(
            "--create", action="store_true", help="Create the sample if it does not exist."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Lists the samples, or changes one."""
        model: Any = get_waffle_sample_model()
        if options["list_samples"]:
            self.stdout.write("Samples:")
            for row in model.objects.iterator():
                self.stdout.write(f"{row.name}: {row.percent:.1f}%")
            self.stdout.write("")
            return
        name, percent = options["name"], options["percent"]
        if not name or percent is None:
            raise CommandError("You need to specify a sample name and percentage.")
        if not 0 <= percent <= _ALL:
            raise CommandError("You need to enter a valid percentage value.")
        row = model.objects.filter(name=name).first()
        if row is None and not options["create"]:
            raise CommandError("This sample does not exist.")
        if row is None:
            self.stdout.write(f"Creating sample: {name}")
            row = model(name=name)
        row.percent = percent
        row.save()
