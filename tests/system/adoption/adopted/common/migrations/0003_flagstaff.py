from django.db import migrations

from flagstaff.operations import InstallTriggers


class Migration(migrations.Migration):
    dependencies = [("common", "0002_keyvaluestore"), ("flagstaff", "0001_flagstaff")]
    operations = [InstallTriggers("common.FeatureFlag", "common.KeyValueStore")]
