from django.db import migrations

from flagstaff.operations import InstallTriggers


class Migration(migrations.Migration):
    dependencies = [("common", "0003_inherit"), ("flagstaff", "0001_flagstaff")]
    operations = [InstallTriggers("common.FeatureFlag", "common.KeyValueStore")]
