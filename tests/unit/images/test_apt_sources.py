import pytest

from vault.disks.images.apt_sources import sources_from_targets

BASE = "Debian|bookworm|main|http://mirror.example/debian/"
UPDATES = "Debian|bookworm-updates|main|http://mirror.example/debian/"
SECURITY = "Debian|bookworm-security|main|https://security.example/debian-security/"


def test_a_debian_host_of_the_suite_lends_its_own_sources() -> None:
    assert sources_from_targets(f"{SECURITY}\n{BASE}\n{UPDATES}\n{BASE}\n", "bookworm") == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb https://security.example/debian-security/ bookworm-security main",
    ]


@pytest.mark.parametrize(
    "target",
    [
        "Ubuntu|noble|main|http://mirror.example/ubuntu/",
        "Debian|trixie|main|http://mirror.example/debian/",
        "Debian|bookworm|contrib|http://mirror.example/debian/",
        "Vendor|bookworm|main|http://vendor.example/",
        "Debian|bookworm|main|file:/srv/mirror/",
        "Debian|bookworm|main|mirror+file:/etc/apt/mirrors/debian.list",
        "Debian|bookworm|main|cdrom:[Debian 12]/",
        "Debian|bookworm|main|http:///debian/",
        "",
        "Debian|bookworm",
    ],
    ids=lambda target: target or "nothing",
)
def test_other_sources_are_left_to_the_bootstrap(target: str) -> None:
    assert sources_from_targets(f"{target}\n{UPDATES}\n{SECURITY}\n", "bookworm") == []


def test_a_password_in_an_address_never_gets_into_an_image() -> None:
    lines = sources_from_targets(
        f"{BASE}\nDebian|bookworm-updates|main|https://u:p@private.example/\n", "bookworm"
    )
    assert lines == ["deb http://mirror.example/debian/ bookworm main"]
