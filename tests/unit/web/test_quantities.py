import pytest

from vault.errors import BadInput
from web.cli.failure import BadUsage
from web.cli.quantities import parse_size, write_size
from web.instants import parse_instant


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("2G", 2 * 1024**3),
        ("512M", 512 * 1024**2),
        ("768m", 768 * 1024**2),
        ("4GiB", 4 * 1024**3),
        ("1T", 1024**4),
        ("4096", 4096),
        ("0", 0),
    ],
)
def test_a_size_is_read_in_powers_of_1024(written: str, size_bytes: int) -> None:
    assert parse_size(written) == size_bytes


@pytest.mark.parametrize("written", ["", "G", "-1G", "1.5G", "2X", "2 G 3", "9" * 13])
def test_what_is_no_size_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(BadUsage) as refused:
        parse_size(written)
    assert "512M" in refused.value.hint


@pytest.mark.parametrize(
    ("size_bytes", "written"), [(768 * 1024**2, "768M"), (1536 * 1024**2, "1.5G"), (12, "12B")]
)
def test_a_size_is_written_as_it_would_be_typed(size_bytes: int, written: str) -> None:
    assert write_size(size_bytes) == written


def test_a_day_is_its_beginning_or_as_an_end_its_whole() -> None:
    assert parse_instant("2026-01-31") == "2026-01-31T00:00:00.000000Z"
    assert parse_instant("2026-01-31", end_of_day=True) == "2026-02-01T00:00:00.000000Z"


def test_an_instant_elsewhere_becomes_utc() -> None:
    assert parse_instant("2026-01-31T12:00:00+02:00") == "2026-01-31T10:00:00.000000Z"


@pytest.mark.parametrize(
    "written", ["", "yesterday", "2026-13-01", "2026-01-31T12:00:00", "9999-12-31", "31.1.2026"]
)
def test_what_is_no_instant_or_has_no_zone_is_refused(written: str) -> None:
    with pytest.raises(BadInput):
        parse_instant(written, end_of_day=True)
