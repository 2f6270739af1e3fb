from common.models import KeyValueStore


def get_value(key, default=None):
    try:
        return KeyValueStore.objects.get(key=key).value
    except KeyValueStore.DoesNotExist:
        return default
