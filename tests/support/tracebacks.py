"""What an error report shows of an exception."""

import traceback
from types import ModuleType


def local_variables(error: BaseException, module: ModuleType) -> str:
    """Returns the local variables of the traceback's frames in a module, as text."""
    frames = [frame for frame, _line in traceback.walk_tb(error.__traceback__)]
    shown = [frame.f_locals for frame in frames if frame.f_code.co_filename == module.__file__]
    assert shown
    return repr(shown)
