"""The way to a Dask scheduler: its address, the client, and calls that may not wait forever."""

import json
import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from migrate.errors import MigrateError, StoppedError, UsageError
from migrate.images.transfer import Stop

_CONNECT_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_SCHEMES = ("tcp", "tls")
_TLS_SETTINGS = tuple(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))
_LOUD = ("distributed", "tornado", "asyncio")
_START = "start one: dask scheduler; and workers: dask worker ADDRESS --resources copies=4"

Given = TypeVar("Given")


class TooLongError(Exception):
    """A call of Dask's has not come back."""


def within(seconds: float, call: Callable[[], Given], stop: Stop | None = None) -> Given:
    """What a call gives that would wait forever where a scheduler stands still.

    Raises:
        TooLongError: it took longer; it is left alone, in a thread of its own.
        StoppedError: somebody does not want to wait.
    """
    came: Future[Given] = Future()

    def ask() -> None:
        try:
            came.set_result(call())
        except BaseException as error:  # it is raised below
            came.set_exception(error)

    threading.Thread(target=ask, daemon=True, name="ask Dask").start()
    until = time.monotonic() + seconds
    while True:
        try:
            return came.result(_LOOK_SECONDS)
        except NotYetError:
            if came.done():
                raise  # the call's own
        if stop and stop.soon.is_set():
            raise StoppedError
        if time.monotonic() > until:
            raise TooLongError(f"no answer within {seconds:.0f} s")


def own_version() -> str:
    """The version of Dask here."""
    return version("distributed")


def _check_installed() -> None:
    try:
        is_there = find_spec("distributed") is not None
    except ValueError:
        is_there = False
    if not is_there:
        words = "--dask: the Python package `distributed` is missing"
        raise UsageError(
            words, "install rahti-migrate with its extra, here and at every worker: pipx install --force '.[dask]'"
        )


def check_address(given: str) -> None:
    """Look whether a scheduler can be there, before anything else is done; Dask is not loaded for it.

    Raises:
        UsageError: it is no address, or Dask is not installed.
        MigrateError: nothing listens there.
    """
    _check_installed()
    where = _address(given)
    url = urlsplit(where)
    try:
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=_CONNECT_SECONDS):
            pass
    except OSError as error:
        words = f"--dask {given}: no Dask scheduler can be reached at {where}: {error.strerror or error}"
        raise MigrateError(words, _START) from None


def _address(given: str) -> str:
    """Where the scheduler is: what was given, or what stands in the scheduler file that was.

    Raises:
        UsageError: neither.
    """
    if not given:
        raise UsageError("--dask: it is empty", "name a scheduler, such as tcp://HOST:8786, or leave it out")
    where = given if "://" in given else _in_file(given)
    url = urlsplit(where)
    try:
        is_whole = url.scheme in _SCHEMES and bool(url.hostname) and bool(url.port)
    except ValueError:
        is_whole = False
    if not is_whole:
        said = "" if where == given else f" names {where!r}, which"
        words = f"--dask {given}:{said} is no address of a scheduler"
        raise UsageError(
            words, "such as tcp://HOST:8786, tls://HOST:8786, or the file of dask scheduler --scheduler-file"
        )
    return where


def _in_file(given: str) -> str:
    advice = "name an address, tcp://HOST:8786, or the file that dask scheduler --scheduler-file has written"
    try:
        found = json.loads(Path(given).read_text(encoding="utf-8"))
        return str(found["address"])
    except OSError as error:
        words = f"--dask {given}: neither tcp://... nor tls://..., and as a scheduler file it cannot be read"
        raise UsageError(f"{words}: {error.strerror}", advice) from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"--dask {given}: the file is no scheduler file", advice) from None


@contextmanager
def connected(given: str, stop: Stop) -> Iterator[Any]:
    """Dask's client of a scheduler.

    Raises:
        UsageError: there are no certificates for TLS.
        MigrateError: no scheduler answers there, or one that this Dask cannot talk to.
        StoppedError: somebody does not want to wait.
    """
    where = _address(given)
    from dask import config
    from distributed.versions import VersionMismatchWarning

    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOUD]:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what they have to say, we say in words
    warnings.simplefilter("ignore", VersionMismatchWarning)
    if where.startswith("tls://") and not config.get("distributed.comm.tls.client.cert", None):
        words = f"--dask {given}: the cluster speaks TLS, and Dask's settings here name no certificate for it"
        raise UsageError(words, f"set {', '.join(_TLS_SETTINGS)}")
    client = _client(given, where, stop)
    try:
        yield client
    finally:
        try:
            within(_CONNECT_SECONDS, partial(client.close, timeout=_CONNECT_SECONDS))
        except (TooLongError, OSError):
            client.status = "closed"  # else Dask waits once more when the program ends


def _client(given: str, where: str, stop: Stop) -> Any:
    from distributed import Client

    client = Client.__new__(Client)  # it is at hand here even where it never comes to be

    def open_it() -> None:
        Client.__init__(client, where, timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
        client.scheduler_info(n_workers=-1)

    try:
        within(_CONNECT_SECONDS + 5, open_it, stop)
    except BaseException as error:
        client.status = "closed"  # else Dask waits for it once more when the program ends, and says so at length
        if not isinstance(error, Exception) or isinstance(error, MigrateError):
            raise
        raise _no_way(given, where, error) from None
    return client


def _no_way(given: str, where: str, error: Exception) -> MigrateError:
    """Why a scheduler cannot be talked to, and what to do."""
    words = f"--dask {given}: no Dask scheduler can be talked to at {where}: {_said(error)}"
    if isinstance(error, TooLongError):
        return MigrateError(f"--dask {given}: no Dask scheduler answers at {where}: {error}", _START)
    if where.startswith("tls://") or isinstance(error, FileNotFoundError):
        settings = ", ".join(_TLS_SETTINGS)
        return MigrateError(
            words, f"does it speak TLS (dask scheduler --protocol tls)? what do these name: {settings}?"
        )
    if isinstance(error, OSError):
        return MigrateError(words, f"does it speak TLS? then say tls://; else {_START}")
    return MigrateError(words, f"is it a scheduler, and its `distributed` the same as here ({own_version()})?")


def _said(error: Exception) -> str:
    name = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
    return f"{type(error).__name__}{f': {error}' if str(error) else ''}{name}"
