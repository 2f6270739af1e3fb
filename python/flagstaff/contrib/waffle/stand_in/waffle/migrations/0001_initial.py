"""Creates the tables as they are after all migrations of waffle 5.0.0."""

from __future__ import annotations

import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


def _id() -> models.AutoField[int, int]:
    return models.AutoField(verbose_name="ID", serialize=False, auto_created=True, primary_key=True)


def _name() -> models.CharField[str, str]:
    return models.CharField(
        help_text="The human/computer readable name.",
        max_length=100,
        unique=True,
        verbose_name="Name",
    )


def _note(kind: str) -> models.TextField[str, str]:
    return models.TextField(
        blank=True, help_text=f"Note where this {kind} is used.", verbose_name="Note"
    )


def _created(kind: str) -> models.DateTimeField[str, str]:
    return models.DateTimeField(
        db_index=True,
        default=django.utils.timezone.now,
        help_text=f"Date when this {kind} was created.",
        verbose_name="Created",
    )


def _modified(kind: str) -> models.DateTimeField[str, str]:
    return models.DateTimeField(
        default=django.utils.timezone.now,
        help_text=f"Date when this {kind} was last modified.",
        verbose_name="Modified",
    )


def _switch(name: str, text: str, *, default: bool = False) -> models.BooleanField[bool, bool]:
    return models.BooleanField(default=default, help_text=text, verbose_name=name)


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("auth", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            name="Flag",
            fields=[
                ("id", _id()),
                ("name", _name()),
                (
                    "everyone",
                    models.BooleanField(
                        blank=True,
                        help_text="Flip this flag on (Yes) or off (No) for everyone, overriding all other settings. Leave as Unknown to use normally.",
                        null=True,
                        verbose_name="Everyone",
                    ),
                ),
                (
                    "percent",
                    models.DecimalField(
                        blank=True,
                        decimal_places=1,
                        help_text="A number between 0.0 and 99.9 to indicate a percentage of users for whom this flag will be active.",
                        max_digits=3,
                        null=True,
                        verbose_name="Percent",
                    ),
                ),
                (
                    "testing",
                    _switch("Testing", "Allow this flag to be set for a session for user testing"),
                ),
                (
                    "superusers",
                    _switch("Superusers", "Flag always active for superusers?", default=True),
                ),
                ("staff", _switch("Staff", "Flag always active for staff?")),
                (
                    "authenticated",
                    _switch("Authenticated", "Flag always active for authenticated users?"),
                ),
                (
                    "languages",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="Activate this flag for users with one of these languages (comma-separated list)",
                        verbose_name="Languages",
                    ),
                ),
                ("rollout", _switch("Rollout", "Activate roll-out mode?")),
                ("note", _note("Flag")),
                ("created", _created("Flag")),
                ("modified", _modified("Flag")),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Activate this flag for these user groups.",
                        to="auth.group",
                        verbose_name="Groups",
                    ),
                ),
                (
                    "users",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Activate this flag for these users.",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="Users",
                    ),
                ),
            ],
            options={"verbose_name": "Flag", "verbose_name_plural": "Flags"},
        ),
        migrations.CreateModel(
            name="Sample",
            fields=[
                ("id", _id()),
                ("name", _name()),
                (
                    "percent",
                    models.DecimalField(
                        decimal_places=1,
                        help_text="A number between 0.0 and 100.0 to indicate a percentage of the time this sample will be active.",
                        max_digits=4,
                        verbose_name="Percent",
                    ),
                ),
                ("note", _note("Sample")),
                ("created", _created("Sample")),
                ("modified", _modified("Sample")),
            ],
            options={"verbose_name": "Sample", "verbose_name_plural": "Samples"},
        ),
        migrations.CreateModel(
            name="Switch",
            fields=[
                ("id", _id()),
                ("name", _name()),
                ("active", _switch("Active", "Is this switch active?")),
                ("note", _note("Switch")),
                ("created", _created("Switch")),
                ("modified", _modified("Switch")),
            ],
            options={"verbose_name": "Switch", "verbose_name_plural": "Switches"},
        ),
    ]
