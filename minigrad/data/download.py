"""Files from the network: checked, whole or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..serialization import write_atomically

_TIMEOUT = 30  # seconds without a byte


class RemoteFile(NamedTuple):
    """A file that mirrors have: its name there and here, its length in bytes, its SHA-256."""

    name: str
    size: int
    sha256: str


def data_folder() -> Path:
    """Return where downloads are kept: MINIGRAD_DATA, or else the user's cache folder.

    ValueError where MINIGRAD_DATA begins with ~ and there is no such home folder.
    """
    if folder := os.environ.get("MINIGRAD_DATA"):
        try:
            return Path(folder).expanduser()
        except RuntimeError as error:
            raise ValueError(f"MINIGRAD_DATA={folder!r} is no folder: {error}") from error
    import platformdirs

    return Path(platformdirs.user_cache_dir("minigrad", appauthor=False))


def fetch(file: RemoteFile, mirrors: Sequence[str], folder: Path) -> Path:
    """Download a file into a folder, from the first mirror (a URL that ends in /) that has it.

    ConnectionError with each mirror's fault where none has; then the folder is as it was.
    """
    from http.client import HTTPException

    faults = []
    for mirror in mirrors:
        url = mirror + file.name
        try:
            content = _download(url, file)
        except (OSError, HTTPException, ValueError) as error:
            faults.append(f"{url} ({str(error).strip('<>') or type(error).__name__})")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / file.name, content)
        return folder / file.name
    raise ConnectionError(
        f"{file.name} could not be downloaded from {' or '.join(faults)}; without a network, get "
        f"it elsewhere and put it into the folder {folder}"
    )


def _download(url: str, file: RemoteFile) -> bytes:
    """Return what is at a URL, with a progress bar where standard error is a terminal."""
    import hashlib  # on first use: imports stay quick
    from urllib.error import HTTPError
    from urllib.request import urlopen

    from tqdm import tqdm

    content, total = bytearray(), file.size
    try:
        with (
            urlopen(url, timeout=_TIMEOUT) as response,
            tqdm(total=total, desc=file.name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            # One byte more than there should be tells that there is more.
            while piece := response.read(min(2**16, total + 1 - len(content))):
                content += piece
                bar.update(len(piece))
    except HTTPError as error:
        error.close()
        raise
    if len(content) != total:
        found = f"{len(content):,}" if len(content) < total else f"more than {total:,}"
        raise ValueError(f"expected {total:,} bytes, got {found}")
    if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise ValueError(f"expected the SHA-256 {file.sha256}, got {found}")
    return bytes(content)
