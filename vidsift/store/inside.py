"""Files of a library that really lie in it: no link leads out, and each is a regular file.

A library may come from somewhere else, as an archive or a share. What it calls a thumbnail may be a
link to a file that is nobody's business, or a FIFO that never answers; what it calls its folder of
pictures may be a link to a folder whose other files would be swept as rubbish.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from vidsift.errors import DamagedLibraryError, LibraryError

__all__ = ["check_folders", "open_inside", "read_inside"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait for the other end of a FIFO.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def check_folders(root: Path) -> None:
    """Refuse a library in which a folder that is written to and swept is a link.

    Raises:
        LibraryError: one is; `root` itself may be.
    """
    for folder in (root, root / "skims"):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            # What cannot be listed is told about by whoever reads it.
            for entry in entries:
                if entry.is_symlink() and entry.is_dir():
                    raise LibraryError(
                        f"{folder / entry.name}: is a link to {Path(entry.path).readlink()}; what a"
                        " library holds lies in its own folder: put the folder in place of the"
                        " link, or let the whole library lie where there is room"
                    )


def open_inside(root: Path, path: Path) -> int:
    """A descriptor to read `path`, a regular file below `root`; the caller closes it.

    No folder between them and not the file itself may be a link; nothing can change that while it
    is looked at, since each folder is opened in the one before.

    Raises:
        DamagedLibraryError: it is a link or no regular file, or lies elsewhere.
        OSError: it is absent or may not be read.
    """
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        parts = ()
    if not parts or ".." in parts or "\0" in str(path):
        raise DamagedLibraryError(f"{path}: lies outside of {root}, so it is not read")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.open(parts[-1], _FILE, dir_fd=folder)
    except OSError as error:
        if _has_link(root, parts):
            raise DamagedLibraryError(
                f"{path}: a link in a library is not followed; delete it and run `vidsift index`"
                " on the video's folder to make the file again"
            ) from error
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise DamagedLibraryError(f"{path}: is no regular file, so it is not read; delete it")
    return file


def read_inside(root: Path, path: Path) -> bytes:
    """The content of a regular file below `root`; raises as open_inside."""
    with os.fdopen(open_inside(root, path), "rb") as stream:
        return stream.read()


def _has_link(root: Path, parts: tuple[str, ...]) -> bool:
    places = (root.joinpath(*parts[: n + 1]) for n in range(len(parts)))
    return any(place.is_symlink() for place in places)
