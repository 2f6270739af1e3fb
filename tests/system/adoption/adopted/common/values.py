from flagstaff import get_value

__all__ = ["get_value"]
