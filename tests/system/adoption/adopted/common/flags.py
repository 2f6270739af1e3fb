from flagstaff import flag_enabled

__all__ = ["flag_enabled"]
