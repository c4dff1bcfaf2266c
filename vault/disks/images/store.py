"""The images of one instance: each in a folder named by its id, whole or absent.

A file of an image is never used before its SHA-256 was compared with what was noted when the image was made.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from policies.vocabulary import Action, EntityRef
from vault.disks.files import PART_SUFFIX
from vault.disks.images.cache import ImageBuilder, ImageCache, require_intact, require_intact_file
from vault.disks.images.folders import discard, make_root, new_part, publish
from vault.disks.images.image_build import build_image, describe, recipe_named
from vault.disks.images.image_import import import_image
from vault.disks.images.model import (
    DISK_FILE,
    DOCUMENT_FILE,
    INITRD_FILE,
    KERNEL_FILE,
    Image,
    is_image_id,
    read_image,
)
from vault.disks.images.tools import run_tool
from vault.errors import BadInput, Conflict, IntegrityFailure, NotFound
from vault.jobs import Progress, no_progress
from vault.permit import Permit

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


class ImageStore:
    """Lists, makes, verifies and deletes images."""

    def __init__(self, root: Path, cache: Path, build: ImageBuilder = build_image) -> None:
        """Take where this instance keeps its images, where the host keeps built ones, and what builds them."""
        self._root = root
        self._cache = ImageCache(cache, build)

    def all(self) -> list[Image]:
        """Every image, the newest first.

        Raises:
            IntegrityFailure: the list of digests of one is missing or damaged; the sentence names it.
        """
        folders = self._root.iterdir() if self._root.is_dir() else iter(())
        images = [_read(folder) for folder in folders if is_image_id(folder.name)]
        return sorted(images, key=lambda image: (image.created_at, image.id), reverse=True)

    def get(self, name_or_id: str) -> Image:
        """The image of this id, or the newest of this name.

        Raises:
            NotFound: there is none; the hint names the closest ones.
            IntegrityFailure: its list of digests is damaged.
        """
        if is_image_id(name_or_id):
            return _read(self._root / name_or_id)
        images = self.all()
        for image in images:
            if image.name == name_or_id:
                return image
        names = sorted({image.name for image in images})
        close = difflib.get_close_matches(name_or_id, names, n=1)
        if close:
            hint = f"Did you mean {close[0]!r}?"
        elif names:
            hint = f"Images: {', '.join(names)}."
        else:
            hint = "There are no images yet: strongroom image build debian-12"
        raise NotFound(f"There is no image {name_or_id!r}.", hint)

    def build(self, permit: Permit, site: EntityRef, name: str, progress: Progress = no_progress) -> Image:
        """Build an image from its recipe, or take over the one that this host built before.

        Args:
            permit: to build images.
            site: the site.
            name: name of the recipe.
            progress: told how far it is; what it raises stops the build, and nothing is left of it.

        Returns:
            the image, durable. When this instance has it already, that one.

        Raises:
            NotFound: there is no such recipe.
            HostFailure: a program is missing or failed, the archive does not answer, or there is no space.
            IntegrityFailure: what was built holds what no image may hold.
        """
        permit.require(site, Action.IMAGE_BUILD)
        recipe = recipe_named(name)
        for image in self.all():
            if image.name == name and image.recipe_sha256 == recipe.digest:
                progress(5, "This image is here already; checking it.")
                require_intact(image)
                permit.note(reused="image")
                return image
        with self._cache.image(recipe, progress) as (cached, was_kept):
            if was_kept:
                progress(50, f"Copying the image that this host built on {cached.created_at:%Y-%m-%d}.")
            permit.note(reused="cache" if was_kept else "none")
            return self._publish(lambda part: _copy_of(cached, part))

    def import_file(
        self,
        permit: Permit,
        site: EntityRef,
        name: str,
        source: Path,
        image_format: str,
        *,
        sha256: str | None = None,
        progress: Progress = no_progress,
    ) -> Image:
        """Take over a disk image that lies in a file on this host.

        Args:
            permit: to import images.
            site: the site.
            name: what to call it.
            source: an ordinary file, no link.
            image_format: `qcow2` or `raw`; never guessed.
            sha256: what the file must hash to, hex; None takes it as it is.
            progress: told how far it is; what it raises stops the import, and nothing is left of it.

        Raises:
            BadInput: name or file cannot be used.
            Conflict: the name is taken.
            IntegrityFailure: the file does not hash to `sha256`.
            HostFailure: the file cannot be read, a program failed, or there is no space left.
        """
        permit.require(site, Action.IMAGE_IMPORT)
        if not _NAME.fullmatch(name) or is_image_id(name):
            raise BadInput(
                f"An image cannot be called {name!r}.",
                "Use lower-case letters, digits, dots and hyphens, at most 63, beginning with a letter or digit.",
            )
        if any(image.name == name for image in self.all()):
            raise Conflict(
                f"There is an image {name!r} already.", "Choose another name, or delete that one first."
            )
        return self._publish(lambda part: import_image(source, image_format, name, part, sha256, progress))

    def verify(self, permit: Permit, resource: EntityRef, image: Image) -> None:
        """Hash every file of an image again.

        Raises:
            IntegrityFailure: a file is not what it was; the sentence names it.
        """
        permit.require(resource, Action.IMAGE_VERIFY)
        _require_same(resource, image.id)
        require_intact(image)

    def delete(self, permit: Permit, resource: EntityRef, image_id: str) -> None:
        """Remove an image; durable on return. The caller makes sure that no guest starts with its kernel.

        Args:
            permit: to delete this image.
            resource: the image.
            image_id: its id; a damaged image can be deleted too.

        Raises:
            NotFound: there is no such image.
        """
        permit.require(resource, Action.IMAGE_DELETE)
        _require_same(resource, image_id)
        folder = self._root / image_id
        if not is_image_id(image_id) or not folder.is_dir():
            raise NotFound("There is no such image.", "List the images: strongroom image list")
        discard(folder)

    def remove_unfinished(self, permit: Permit, resource: EntityRef) -> list[str]:
        """Remove what killed builds and imports left, here and in the cache; returns the folders' names.

        For recovery, before anything is built: what another instance builds at this moment stays.
        """
        permit.require(resource, Action.IMAGE_BUILD, Action.IMAGE_IMPORT, Action.SYSTEM_RECOVER)
        removed: list[str] = []
        for part in sorted(self._root.glob(f"*{PART_SUFFIX}")) if self._root.is_dir() else []:
            discard(part)
            removed.append(part.name)
        return removed + self._cache.remove_unfinished()

    def verified_disk(self, image: Image) -> Path:
        """Where the image's disk lies, after it was hashed.

        Raises:
            IntegrityFailure: it is not what it was.
        """
        return require_intact_file(image, DISK_FILE)

    def verified_kernel(self, image: Image) -> tuple[Path, Path]:
        """Where kernel and initrd lie, after they were hashed.

        Raises:
            NotFound: the image starts by firmware only.
            IntegrityFailure: one is not what it was.
        """
        return require_intact_file(image, KERNEL_FILE), require_intact_file(image, INITRD_FILE)

    def _publish(self, make: Callable[[Path], Image]) -> Image:
        """Let `make` fill a folder, and give it its name when it is whole."""
        make_root(self._root)
        part = new_part(self._root, str(uuid4()))
        try:
            image = make(part)
            publish(part, self._root / image.id)
        except BaseException:
            discard(part)
            raise
        return replace(image, folder=self._root / image.id)


def _read(folder: Path) -> Image:
    """The image in a folder that is named by its id."""
    image = read_image(folder)
    if image.id != folder.name:
        raise IntegrityFailure(
            f"{folder / DOCUMENT_FILE} tells of another image.",
            f"Delete the image ({folder.name}), then make it again.",
        )
    return image


def _copy_of(cached: Image, part: Path) -> Image:
    """A cached image as a new one of this instance; what was copied is hashed again."""
    for name in cached.files:
        run_tool(["cp", "--reflink=auto", "--", cached.folder / name, part / name], "copy the image")
    image = describe(replace(cached, folder=part, id=str(uuid4()), files={}))
    if image.files != cached.files:
        raise IntegrityFailure(
            "The copy of the built image differs from it.", "Look at the host's storage, then build it again."
        )
    return image


def _require_same(resource: EntityRef, image_id: str) -> None:
    if resource.id != image_id:
        raise BadInput("The permit is for another image.", "Ask for the image that you mean.")
