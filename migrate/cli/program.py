"""How this program was started, so that it can be started again, by us or by who reads what to type."""

import os
import shutil
import sys
from pathlib import Path

_NAME = "rahti-migrate"


def own_program() -> list[str]:
    """This very program, as an argument list."""
    started = sys.argv[0]
    is_program = Path(started).name != "__main__.py" and shutil.which(started, os.X_OK) is not None
    return [started] if is_program else [sys.executable, "-m", "migrate"]


def shown_program() -> list[str]:
    """What to type: the name where a shell finds it, else the path by which it was started."""
    return [_NAME] if shutil.which(_NAME) else own_program()
