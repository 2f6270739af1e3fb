import hashlib

from common.models import FeatureFlag


def flag_enabled(key, user=None):
    try:
        flag = FeatureFlag.objects.get(key=key)
    except FeatureFlag.DoesNotExist:
        return False
    if not flag.enabled:
        return False
    if user and flag.allowed_users.filter(pk=user.pk).exists():
        return True
    if flag.rollout_percent >= 100:
        return True
    if not user:
        return False
    digest = hashlib.sha256(f"{key}:{user.pk}".encode()).hexdigest()
    return int(digest, 16) % 100 < flag.rollout_percent
