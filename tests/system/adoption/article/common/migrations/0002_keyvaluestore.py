from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("common", "0001_featureflag")]

    operations = [
        migrations.CreateModel(
            name="KeyValueStore",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=255, unique=True)),
                ("value", models.JSONField()),
            ],
        )
    ]
