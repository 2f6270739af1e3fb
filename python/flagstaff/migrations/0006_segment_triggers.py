from __future__ import annotations

from django.db import migrations

from flagstaff.operations import InstallFunctions, InstallTriggers


class Migration(migrations.Migration):
    # Not part of 0005: it would wait for the history and the tokens while it locks the flags.
    dependencies = [("flagstaff", "0005_rules_and_segments")]

    operations = [
        InstallTriggers(segment_model="flagstaff.Segment"),
        InstallFunctions(),
    ]
