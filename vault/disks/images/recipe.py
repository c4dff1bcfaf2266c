"""What an image is built from: packages, files and units, as data with a digest.

The digest names the built image in the cache, so every change to a recipe makes a new image and no change
makes the old one be used again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from audit.log import canonical

#: How an image is put together (partitions, file system, loader). Raise it when `disk_layout` or `boot_loader` change.
ASSEMBLY_VERSION = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Linux image built from a distribution's archive.

    Attributes:
        name: what people call it: `strongroom image build NAME`.
        os: the system's full name.
        suite: the distribution's suite, as apt calls it.
        packages: what is installed beside the essential ones.
        loader_packages: where the signed EFI loader is taken from; they are not installed.
        excluded_paths: what dpkg leaves out, as its `path-exclude` and `path-include` options.
        files: text of each file laid into the root before the kernel is installed, by path without a leading slash.
        links: symbolic links laid into the root, likewise: path to target.
        masked_units: systemd units and generators that never run.
        kernel_options: kernel command line after `root=`.
        disk_bytes: virtual size of the disk.
    """

    name: str
    os: str
    suite: str
    packages: tuple[str, ...]
    loader_packages: tuple[str, ...]
    excluded_paths: tuple[str, ...]
    files: Mapping[str, str]
    links: Mapping[str, str]
    masked_units: tuple[str, ...]
    kernel_options: str
    disk_bytes: int

    @property
    def digest(self) -> str:
        """SHA-256 of everything the recipe says, hex."""
        content = {**asdict(self), "files": dict(self.files), "links": dict(self.links)}
        return hashlib.sha256(canonical.encode({"assembly": ASSEMBLY_VERSION, "recipe": content})).hexdigest()
