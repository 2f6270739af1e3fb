from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.CreateModel(
            name="FeatureFlag",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=100, unique=True)),
                ("enabled", models.BooleanField(default=False)),
                ("rollout_percent", models.PositiveIntegerField(default=0)),
                ("allowed_users", models.ManyToManyField(blank=True, to=settings.AUTH_USER_MODEL)),
            ],
        )
    ]
