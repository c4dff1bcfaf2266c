from dataclasses import fields, replace

import pytest

from vault.disks.images.debian_12 import DEBIAN_12
from vault.disks.images.recipe import Recipe

CHANGES: dict[str, object] = {
    "name": "other",
    "os": "Other",
    "suite": "other",
    "packages": ("other",),
    "loader_packages": ("other",),
    "excluded_paths": (),
    "files": {**DEBIAN_12.files, "etc/hostname": "other\n"},
    "links": {},
    "masked_units": (),
    "kernel_options": "ro",
    "disk_bytes": 4 * 1024**3,
}


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe)])
def test_each_change_of_a_recipe_makes_another_image(name: str) -> None:
    changed = replace(DEBIAN_12, **{name: CHANGES[name]})  # type: ignore[arg-type] # one value of each field's type
    assert changed.digest != DEBIAN_12.digest


def test_the_same_recipe_gives_the_same_digest() -> None:
    assert replace(DEBIAN_12, files=dict(reversed(list(DEBIAN_12.files.items())))).digest == DEBIAN_12.digest


def test_no_recipe_holds_a_password_or_an_address_of_an_archive() -> None:
    text = repr(DEBIAN_12)
    assert "://" not in text
    assert "passwd:" not in text
    assert "$6$" not in text
