from django.db import migrations


class Migration(migrations.Migration):
    # Only a name, for migrations that depend on it: 0001 has its changes.
    dependencies = [("waffle", "0001_initial")]
