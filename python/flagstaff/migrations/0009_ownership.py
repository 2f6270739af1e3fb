from __future__ import annotations

from django.db import migrations, models

import flagstaff.validators


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0008_groups")]

    operations = [
        migrations.AddField(
            model_name="featureflag",
            name="owner",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The person or team that decides about the flag.",
                max_length=100,
                verbose_name="owner",
            ),
        ),
        migrations.AddField(
            model_name="featureflag",
            name="tags",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                help_text="Words to find the flag by, such as the part of the product.",
                validators=[flagstaff.validators.validate_tags],
                verbose_name="tags",
            ),
        ),
        migrations.AddField(
            model_name="featureflag",
            name="review_on",
            field=models.DateField(
                blank=True,
                help_text="On this day somebody should decide whether the flag is still needed.",
                null=True,
                verbose_name="review on",
            ),
        ),
    ]
