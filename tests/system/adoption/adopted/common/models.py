from flagstaff.base_models import AbstractFeatureFlag, AbstractKeyValueStore


class FeatureFlag(AbstractFeatureFlag):
    pass


class KeyValueStore(AbstractKeyValueStore):
    pass
