"""Builds an image from a recipe into a folder: packages, disk, loader, kernel beside it, digests of all."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from vault.disks.files import host_failure
from vault.disks.images.boot_loader import kernel_options, unpack_loaders
from vault.disks.images.debian_12 import DEBIAN_12
from vault.disks.images.disk_layout import PartitionIds, write_disk
from vault.disks.images.folders import sha256_file
from vault.disks.images.model import (
    DISK_FILE,
    DOCUMENT_FILE,
    INITRD_FILE,
    KERNEL_FILE,
    PACKAGES_FILE,
    FileDigest,
    Firmware,
    Image,
    Source,
)
from vault.disks.images.recipe import Recipe
from vault.disks.images.root_tree import build_root_tree
from vault.disks.images.tools import run_tool
from vault.errors import HostFailure, NotFound
from vault.jobs import Progress

RECIPES = {recipe.name: recipe for recipe in (DEBIAN_12,)}
# The tree, the raw disk and the image, about 450 MB each, and the packages while they are installed.
_NEEDED_BYTES = 2 * 1024**3
# Where the time goes on two cores, in per cent: packages 75, file system 10, the rest copying and hashing.
_INSTALL_UNTIL = 75
_DISK_UNTIL = 85


def recipe_named(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        NotFound: there is none; the sentence names those there are.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise NotFound(
            f"There is no recipe {name!r} to build an image from.", f"Recipes: {', '.join(sorted(RECIPES))}."
        )
    return recipe


def build_image(recipe: Recipe, folder: Path, progress: Progress) -> Image:
    """Build an image into an empty folder of our own.

    Args:
        recipe: what to build.
        folder: a `.part`; the caller publishes or removes it.
        progress: told how far it is; what it raises stops the build and is passed on.

    Returns:
        the image; the folder holds its files and nothing else.

    Raises:
        HostFailure: a program is missing or failed, the archive does not answer, or there is no space.
        IntegrityFailure: what was built holds what no image may hold.
    """
    _require_space(folder)
    ids, work = PartitionIds(), folder / "work"
    options = kernel_options(ids, recipe.kernel_options)
    try:
        work.mkdir()
        tree = build_root_tree(
            recipe, ids, work, lambda done, doing: progress(int(done * _INSTALL_UNTIL), doing)
        )
        progress(_INSTALL_UNTIL, "Making the disk.")
        shutil.copyfile(tree.kernel, folder / KERNEL_FILE)
        shutil.copyfile(tree.initrd, folder / INITRD_FILE)
        (folder / PACKAGES_FILE).write_text("\n".join(tree.packages) + "\n", encoding="utf-8")
        raw = work / "disk.raw"
        write_disk(raw, recipe.disk_bytes, ids, tree.root, unpack_loaders(tree.loaders, ids, options))
        progress(_DISK_UNTIL, "Writing the image.")
        run_tool(
            ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, folder / DISK_FILE], "write the image"
        )
        shutil.rmtree(work)
    except OSError as error:
        raise host_failure(error, folder) from error
    progress(95, "Noting the digests.")
    return describe(
        Image(
            folder=folder,
            id=str(uuid4()),
            name=recipe.name,
            os=recipe.os,
            created_at=datetime.now(UTC),
            source=Source.BUILT,
            recipe_sha256=recipe.digest,
            virtual_size_bytes=recipe.disk_bytes,
            firmware=Firmware.EFI,
            kernel_options=options,
            files={},
        )
    )


def _require_space(folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < _NEEDED_BYTES:
        raise HostFailure(
            f"Building an image needs {_NEEDED_BYTES // 1024**3} GiB in {folder.parent}, "
            f"which has {free_bytes // 1024**2} MiB free.",
            "Free some space, or set cache_dir to another device.",
        )


def describe(image: Image) -> Image:
    """Note the digests of the files in the image's folder, and write `image.json`.

    Raises:
        HostFailure: a file cannot be read or written.
    """
    files: dict[str, FileDigest] = {}
    try:
        for path in sorted(image.folder.iterdir()):
            path.chmod(0o644)
            files[path.name] = FileDigest(sha256_file(path), path.stat().st_size)
        described = replace(image, files=files)
        document = image.folder / DOCUMENT_FILE
        document.write_bytes(described.document)
        document.chmod(0o644)
    except OSError as error:
        raise host_failure(error, image.folder) from error
    return described
