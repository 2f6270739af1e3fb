from __future__ import annotations

from django.db import migrations, models

import flagstaff.validators


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0006_segment_triggers")]

    operations = [
        migrations.AddField(
            model_name="featureflag",
            name="bucket_by",
            field=models.CharField(
                db_default="user",
                default="user",
                help_text='What the percentages count: "user", "visitor" (a browser, even before log-in), or the name of an attribute, such as "organization". A change of the unit reassigns every user at once.',
                max_length=100,
                validators=[flagstaff.validators.validate_bucket_by],
                verbose_name="bucketing unit",
            ),
        ),
    ]
