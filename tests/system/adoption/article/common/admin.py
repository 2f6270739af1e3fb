from django.contrib import admin

from common.models import FeatureFlag, KeyValueStore


@admin.register(FeatureFlag)
class FeatureFlagAdmin(admin.ModelAdmin):
    list_display = ["key", "enabled", "rollout_percent"]
    list_editable = ["enabled", "rollout_percent"]
    filter_horizontal = ["allowed_users"]


@admin.register(KeyValueStore)
class KeyValueStoreAdmin(admin.ModelAdmin):
    list_display = ["key", "value"]
