from __future__ import annotations

from django.db import migrations, models

import flagstaff.constraints
import flagstaff.validators


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0011_toggle_permission")]

    operations = [
        migrations.AddField(
            model_name="keyvaluestore",
            name="type",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "any type"),
                    ("string", "string"),
                    ("number", "number"),
                    ("integer", "integer"),
                    ("boolean", "boolean"),
                    ("object", "object"),
                    ("array", "array"),
                ],
                db_default="",
                default="",
                help_text="A value of another type is refused.",
                max_length=10,
                verbose_name="type",
            ),
        ),
        migrations.AddField(
            model_name="keyvaluestore",
            name="choices",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                help_text='A JSON list, such as ["stripe", "paypal"]. Any other value is refused.',
                validators=[flagstaff.validators.validate_choices],
                verbose_name="choices",
            ),
        ),
        migrations.AddConstraint(
            model_name="keyvaluestore",
            constraint=flagstaff.constraints.ValueRuleConstraint(
                name="flagstaff_keyvaluestore_value_rule"
            ),
        ),
    ]
