import pytest

from vault.errors import BadInput
from vault.guests.spec import GuestSpec, host_memory_bytes, parse_size

GIB = 2**30


def spec(**changed: object) -> GuestSpec:
    given: dict[str, object] = {
        "id": "x", "name": "clinic-db", "vcpus": 1, "memory_bytes": GIB, "disk_bytes": 4 * GIB, "labels": ("ephi",),
    }  # fmt: skip
    return GuestSpec(**(given | changed))  # type: ignore[arg-type] # wrong types are not what is tested


@pytest.mark.parametrize("name", ["ab", "clinic-db", "a" * 40, "x9"])
def test_a_dns_label_names_a_guest(name: str) -> None:
    assert spec(name=name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "Clinic",
        "9lives",
        "-a",
        "a-",
        "a" * 41,
        "a b",
        "a/b",
        "../x",
        "a\n",
        "ä-b",
        "a<b",
        "a'b",
        "a;rm",
        "a\0",
    ],
)
def test_an_odd_name_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(BadInput, match="cannot name a guest") as refused:
        spec(name=name)
    assert "lower-case" in refused.value.hint


@pytest.mark.parametrize("label", ["", "EPHI", "a b", "a,b", "9", "x" * 32, 'a"b'])
def test_an_odd_label_is_refused(label: str) -> None:
    with pytest.raises(BadInput, match="cannot be a label"):
        spec(labels=(label,))


def test_more_than_the_host_has_is_refused() -> None:
    with pytest.raises(BadInput, match="vCPUs"):
        spec(vcpus=100_000)
    with pytest.raises(BadInput, match="memory"):
        spec(memory_bytes=-(-host_memory_bytes() // GIB) * GIB)
    with pytest.raises(BadInput, match="16T"):
        spec(disk_bytes=2**50)


@pytest.mark.parametrize(
    "changed", [{"vcpus": 0}, {"memory_bytes": 0}, {"disk_bytes": 0}, {"disk_bytes": -512}]
)
def test_nothing_is_not_a_size(changed: dict[str, int]) -> None:
    with pytest.raises(BadInput):
        spec(**changed)


def test_a_size_between_two_units_of_the_hardware_is_refused() -> None:
    with pytest.raises(BadInput, match="512 bytes"):
        spec(disk_bytes=GIB + 1)
    with pytest.raises(BadInput, match="whole MiB"):
        spec(memory_bytes=GIB + 1)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("512M", 512 * 2**20), ("2G", 2 * GIB), ("1T", 2**40), ("64K", 65536), ("2GiB", 2 * GIB)],
)
def test_sizes_are_read_as_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "2", "G", "-2G", "2.5G", "0G", "2 G", "2g", "1e3M", "²G", "٢G", "99999999G"]
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="is not a size") as refused:
        parse_size(text)
    assert "512M" in refused.value.hint
