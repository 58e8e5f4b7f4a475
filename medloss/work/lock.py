"""One writer of a folder at a time, whoever started it and however it ended.

The kernel holds the lock of a process and releases it when the process is gone, even by SIGKILL.
Where it locks no files (Windows, some network file systems), a file that only one process can have
made is the lock; one that a process of this machine left behind is no lock any more.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from medloss.runtime.files import CannotWriteError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

LOCKS = (".lock", ".lock-by-file")
"""Names of the files in the folder, there while somebody writes: of the kernel's lock, and of ours
where it has none."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one who writes to a folder.

    Args:
        folder: that is there.

    Raises:
        ValueError: somebody else writes to it; says who.
        CannotWriteError: the file of the lock cannot be written.
    """
    try:
        path, held = _taken(folder)
    except OSError as error:
        raise CannotWriteError(folder / LOCKS[0], error) from error
    by_file = path.name == LOCKS[1]
    try:
        yield
    finally:
        if by_file:
            os.close(held)  # Windows deletes no file that is open
        # The file goes before the lock, so that who gets the lock next sees that it is no more.
        with contextlib.suppress(OSError):
            path.unlink()
        if not by_file:
            os.close(held)


def _taken(folder: Path) -> tuple[Path, int]:
    path = folder / LOCKS[0]
    while fcntl is not None:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(held)
            raise ValueError(_busy(folder, path)) from error
        except OSError:  # this file system has no locks
            os.close(held)
            path.unlink(missing_ok=True)
            break
        if _is_still(path, held):
            _sign(held)
            return path, held
        os.close(held)  # who had the lock deleted the file between the two lines
    return _made(folder, folder / LOCKS[1])


def _made(folder: Path, path: Path) -> tuple[Path, int]:
    while True:
        try:
            held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError as error:
            if not _left_behind(path):
                hint = f"; if that is gone, delete {path}"
                raise ValueError(_busy(folder, path) + hint) from error
            path.unlink(missing_ok=True)
            continue
        _sign(held)
        return path, held


def _is_still(path: Path, held: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(held))
    except FileNotFoundError:
        return False


def _sign(held: int) -> None:
    with contextlib.suppress(OSError):  # on a full disk nobody reads who it is; it is locked
        os.ftruncate(held, 0)
        os.write(held, f"{os.getpid()} {socket.gethostname()}\n".encode())


def _who(path: Path) -> tuple[int, str]:
    """Process and machine; 0 where nobody can tell."""
    try:
        number, host = path.read_text(encoding="utf-8").split()
        return int(number), host
    except (OSError, ValueError):
        return 0, ""


def _busy(folder: Path, path: Path) -> str:
    process, host = _who(path)
    by = f"process {process} on {host}" if process else "another process"
    return f"{folder} is being written to by {by}; wait for it to end, or name another folder"


def _left_behind(path: Path) -> bool:
    process, host = _who(path)
    if not process or host != socket.gethostname() or os.name == "nt":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is somebody else's
        return False
    return False
