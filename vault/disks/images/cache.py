"""Built images kept for the next instance of this host: by recipe, checked by SHA-256 before each use.

The cache saves time and is trusted with nothing: what does not hash to what its own list says, or lies where others
could write, is built again. One lock for each recipe lets two instances build at the same time without doing it twice.
"""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vault.disks.files import PART_SUFFIX, host_failure
from vault.disks.images.folders import discard, make_root, new_part, publish, sha256_file
from vault.disks.images.image_build import build_image
from vault.disks.images.model import Image, read_image
from vault.disks.images.recipe import Recipe
from vault.errors import HostFailure, HostUnprotected, IntegrityFailure, NotFound
from vault.jobs import Progress

#: Builds an image of a recipe into a folder.
ImageBuilder = Callable[[Recipe, Path, Progress], Image]
_LOCK_SUFFIX = ".lock"
_LOCK_POLL_S = 0.5
_LOCK_TIMEOUT_S = 1800.0


def require_intact(image: Image) -> None:
    """Hash every file of an image.

    Raises:
        IntegrityFailure: a file is missing, of another size, or of another digest; the sentence names it.
    """
    for name in image.files:
        require_intact_file(image, name)


def require_intact_file(image: Image, name: str) -> Path:
    """Hash one file of an image, and return where it lies.

    Raises:
        NotFound: the image has no such file.
        IntegrityFailure: the file is missing, of another size, or of another digest.
    """
    known = image.files.get(name)
    if known is None:
        raise NotFound(f"The image {image.name!r} has no {name}.", "Build it again, or start it by firmware.")
    path = image.folder / name
    # The size first: it is free, and most damage shows in it.
    if not path.is_file() or path.stat().st_size != known.size_bytes or sha256_file(path) != known.sha256:
        raise IntegrityFailure(
            f"{path} is not the file that was there when the image was made.",
            f"Delete the image ({image.id}), then build or import it again.",
        )
    return path


class ImageCache:
    """Built images by recipe."""

    def __init__(self, root: Path, build: ImageBuilder = build_image) -> None:
        """Take the folder, which is made when first needed, and what builds an image."""
        self._root = root
        self._build_image = build

    @contextmanager
    def image(self, recipe: Recipe, progress: Progress) -> Iterator[tuple[Image, bool]]:
        """The image of a recipe, built unless it is here and intact; nobody removes it during the block.

        Yields:
            the image in the cache, and whether it was here already.

        Raises:
            HostFailure, IntegrityFailure: as for `build_image`.
            HostUnprotected: others could write into the cache.
        """
        make_root(self._root)
        _require_private(self._root)
        key = f"{recipe.name}-{recipe.digest[:32]}"
        with self._locked(key, progress):
            kept = self._kept(key, recipe, progress)
            yield (kept, True) if kept is not None else (self._build(key, recipe, progress), False)

    def remove_unfinished(self) -> list[str]:
        """Remove what killed builds left, unless another instance is building it now; returns the names."""
        removed: list[str] = []
        for part in sorted(self._root.glob(f"*{PART_SUFFIX}")) if self._root.is_dir() else []:
            key = part.name.split(".")[0]
            with _open_lock(self._root / f"{key}{_LOCK_SUFFIX}") as lock:
                if _take(lock):
                    discard(part)
                    removed.append(part.name)
        return removed

    def _kept(self, key: str, recipe: Recipe, progress: Progress) -> Image | None:
        folder = self._root / key
        if not folder.exists():
            return None
        progress(2, "Checking the image that was built before.")
        try:
            image = read_image(folder)
            if image.recipe_sha256 == recipe.digest:
                require_intact(image)
                return image
        except IntegrityFailure:
            progress(2, "The image that was built before is damaged; building it again.")
        discard(folder)
        return None

    def _build(self, key: str, recipe: Recipe, progress: Progress) -> Image:
        part = new_part(self._root, key)
        try:
            self._build_image(recipe, part, progress)
            publish(part, self._root / key)
        except BaseException:
            discard(part)
            raise
        return read_image(self._root / key)

    @contextmanager
    def _locked(self, key: str, progress: Progress) -> Iterator[None]:
        with _open_lock(self._root / f"{key}{_LOCK_SUFFIX}") as lock:
            deadline = time.monotonic() + _LOCK_TIMEOUT_S
            while not _take(lock):
                # Said again and again, so that a person sees it and can cancel.
                progress(1, "Waiting for another instance that builds the same image.")
                if time.monotonic() > deadline:
                    raise HostFailure(
                        "Another instance has been building the same image for too long.", "Try again."
                    )
                time.sleep(_LOCK_POLL_S)
            yield


@contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise host_failure(error, path) from error
    try:
        yield lock
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _require_private(root: Path) -> None:
    status = root.stat()
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HostUnprotected(
            f"Others could write into the cache of images, {root}.", f"Make it yours: chmod go-w {root}"
        )
