"""Fetching of one published file: whole, with its checksum, or not at all."""

from __future__ import annotations

from pathlib import Path

from duda.files import make_ordinary

__all__ = ["fetch"]


def fetch(url: str, checksum: str, target: Path) -> None:
    """Fetch `url` to `target`, unless the published file is there already.

    Args:
        url: where the file is.
        checksum: such as `sha256:…` or `md5:…`, of the published file.
        target: what it becomes; a file with another checksum is replaced.

    Raises:
        ValueError: if what came is not the published file.
        OSError: if it cannot be fetched or written.
    """
    import pooch

    try:
        pooch.retrieve(
            url, checksum, fname=target.name, path=target.parent, processor=_made_ordinary
        )
    except ValueError as error:
        kind = checksum.partition(":")[0].upper().replace("SHA256", "SHA-256")
        raise ValueError(
            f"{url} gave a file that is not the published one, by its {kind} checksum: try again, "
            f"or get it from another place and put it into `{target.parent}`."
        ) from error
    except OSError as error:  # what fails on the network is one, too
        raise OSError(
            f"cannot fetch {url} to `{target}` ({error}): check the connection and the folder, or "
            "put the file there yourself."
        ) from error


def _made_ordinary(name: str, action: str, _: object) -> str:
    """Let others read what was fetched just now: pooch's temporary files are for their owner."""
    if action != "fetch":
        make_ordinary(Path(name))
    return name
