"""Run Python where no file can be locked, as on a network file system mounted without its lock daemon.

Run: python tests/nolocks.py ERRNO ARGUMENTS...    (Linux; the kernel refuses the system calls: seccomp(2))
"""

import ctypes
import errno
import os
import platform
import struct
import subprocess
import sys

_CALLS = {"x86_64": (73, 72), "aarch64": (32, 25)}
"""flock(2) and fcntl(2), by machine."""
_SET_LOCKS = (6, 7, 37, 38)
"""F_SETLK, F_SETLKW and their kin for open file descriptions (fcntl.h)."""
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_locks(number: int) -> None:
    """From now on this process and its children get this errno for every lock they ask for.

    Raises:
        OSError: the kernel does not let us.
    """
    flock, fcntl = _CALLS[platform.machine()]
    rules = [  # each: what, how many rules to pass over if so, how many if not, value
        (_LOAD, 0, 0, 0),  # the number of the call
        (_EQUAL, len(_SET_LOCKS) + 3, 0, flock),
        (_EQUAL, 0, len(_SET_LOCKS) + 1, fcntl),
        (_LOAD, 0, 0, 24),  # its second argument, low half
        *((_EQUAL, len(_SET_LOCKS) - place, 0, command) for place, command in enumerate(_SET_LOCKS)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | number),
    ]
    code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
    program = _Program(len(rules), code)
    libc = ctypes.CDLL(None, use_errno=True)
    asked = (libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0))
    if any(asked):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def refuses_locks_here() -> bool:
    """Whether this kernel lets us try it."""
    asked = [sys.executable, __file__, "ENOLCK", "-c", ""]
    return platform.machine() in _CALLS and subprocess.run(asked, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    refuse_locks(getattr(errno, sys.argv[1]))
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
