"""Whole files on disk: recognised before they are replaced, written beside their place, and put there in one step."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp

from metagen.errors import InputError, MetagenError, StorageError

NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags for opening what is written: a link might lead to a file of someone else."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}
"""What a disk says that takes no more."""
NO_ROOM = FULL - {errno.EROFS}
"""The same for what is new: one that can only be read is the wrong place for it."""
_MOST_READ = 4096
"""Bytes at the beginning of a file by which it is recognised."""


@contextmanager
def refused_by_disk(path: Path) -> Iterator[None]:
    """Turn what the system says when a write fails into `StorageError`, or into `InputError` for a name too long."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise cannot_open(path, error) from None
        why = "the disk takes no more" if error.errno in FULL else "cannot be written"
        raise StorageError(f"{path}: {why}: {error.strerror}") from None


def why_not(path: Path, error: OSError) -> str:
    """The reason in words; those of a link and of a folder that is missing are not the system's own."""
    if isinstance(error, FileNotFoundError):
        return f"there is no folder {path.parent}"
    return "it is a link, so name the file itself" if os.path.islink(path) else str(error.strerror)


def cannot_open(path: Path, error: OSError) -> MetagenError:
    """What to raise where a file cannot be opened to be written: the disk takes no more, or the place is wrong."""
    if error.errno in (FULL if os.path.lexists(path) else NO_ROOM):
        return StorageError(f"{path}: the disk takes no more: {error.strerror}")
    return InputError(f"{path}: cannot be written: {why_not(path, error)}")


def check_file(path: Path) -> None:
    """Raise `InputError` if there is something at this place that is no file, such as a link."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        why = "it is a link, so name the file itself" if path.is_symlink() else "it is no file"
        raise InputError(f"{path}: cannot be written: {why}")


def make_folder(path: Path, refusal: str = "cannot be a folder") -> None:
    """Make a folder and those around it. Raises `InputError` where there can be none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageError(f"{path}: the disk takes no more: {error.strerror}") from None
        why = "it is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise InputError(f"{path}: {refusal}: {why}") from None


def check_ours(path: Path, ours: re.Pattern[bytes]) -> None:
    """Raise `InputError` if there is anything but a file whose beginning matches `ours`; an empty one is nobody's."""
    try:
        with open(os.open(path, os.O_RDONLY | NO_LINK | os.O_NONBLOCK), "rb") as file:
            beginning = file.read(_MOST_READ)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(f"{path}: cannot be replaced: {why_not(path, error)}") from None
    if beginning and not ours.search(beginning):
        raise InputError(f"{path}: was not written by metagen: move it away, or name another folder with --out")


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside its place, force it onto the disk, and put it there: whole, or not at all.

    Raises `StorageError` if the disk takes no more; then what was there before is there still. Raises `InputError`
    where no file can be made.
    """
    with refused_by_disk(path):
        descriptor, new = _beside(path)
        try:
            with suppress(PermissionError):  # some file systems, such as exFAT and shares of Windows, keep no modes
                os.fchmod(descriptor, 0o666 & ~_umask())
            os.close(descriptor)
            write(new)
            _sync(new)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        with suppress(OSError):  # some file systems cannot force names onto the disk
            _sync(path.parent)


def _beside(path: Path) -> tuple[int, Path]:
    """A new file beside a place, open."""
    try:
        # the whole name and more might be longer than a name may be
        descriptor, name = mkstemp(prefix=f".{path.stem[:100]}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise cannot_open(path, error) from None
    return descriptor, Path(name)


def replace_text(path: Path, text: str) -> None:
    """The same for a text; half of a surrogate pair is written as an escape."""
    data = text.encode(errors="backslashreplace")
    replace_file(path, lambda new: new.write_bytes(data))


def keep_torn(path: Path, data: bytes) -> None:
    """Append what is cut off a file to `NAME.torn` beside it, so that nothing is lost."""
    torn = path.with_name(f"{path.name}.torn")
    with refused_by_disk(torn):
        file = os.open(torn, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK, 0o666)
        with open(file, "wb") as kept:
            kept.write(data if data.endswith(b"\n") else data + b"\n")
            kept.flush()
            os.fsync(file)


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
