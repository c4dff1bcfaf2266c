import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from policies.errors import StrongroomError
from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import closed, permit_for
from tests.unit.images.conftest import SITE, FakeBuilder
from vault.disks.images.model import DISK_FILE, INITRD_FILE, KERNEL_FILE, Image, read_image
from vault.disks.images.store import ImageStore
from vault.errors import BadInput, HostUnprotected, IntegrityFailure, NotFound, PermitRefused
from vault.permit import Permit


def build(store: ImageStore) -> Image:
    return store.build(permit_for(Action.IMAGE_BUILD, SITE), SITE, "debian-12")


def ref(image: Image) -> EntityRef:
    return EntityRef(EntityType.IMAGE, image.id)


def verify(store: ImageStore, image: Image) -> None:
    store.verify(permit_for(Action.IMAGE_VERIFY, ref(image)), ref(image), image)


def test_a_built_image_is_found_by_name_and_by_id_and_holds(store: ImageStore) -> None:
    image = build(store)
    assert store.all() == [image]
    assert store.get("debian-12") == store.get(image.id) == image
    assert store.verified_disk(image).read_bytes() == b"disk 1"
    assert [path.name for path in store.verified_kernel(image)] == [KERNEL_FILE, INITRD_FILE]
    verify(store, image)


def test_what_the_record_says_of_an_image_has_no_name_in_it(store: ImageStore) -> None:
    assert "debian-12" not in json.dumps(build(store).facts())


def test_building_again_gives_the_image_that_is_there(store: ImageStore, builder: FakeBuilder) -> None:
    first = build(store)
    assert build(store) == first
    assert builder.built == 1


def test_another_instance_takes_the_image_that_this_host_built(
    store: ImageStore, builder: FakeBuilder, tmp_path: Path
) -> None:
    first = build(store)
    said: list[str] = []
    permit = permit_for(Action.IMAGE_BUILD, SITE)
    other = ImageStore(tmp_path / "other", tmp_path / "cache", builder)
    second = other.build(permit, SITE, "debian-12", lambda _percent, sentence: said.append(sentence))
    assert builder.built == 1
    assert permit.facts == {"reused": "cache"}
    assert any("this host built on" in sentence for sentence in said)
    assert (second.files, second.id == first.id) == (first.files, False)
    verify(other, second)


def test_a_damaged_image_in_the_cache_is_built_again_and_never_handed_out(
    store: ImageStore, builder: FakeBuilder, tmp_path: Path
) -> None:
    build(store)
    (cached,) = (tmp_path / "cache").glob(f"*/{DISK_FILE}")
    cached.write_bytes(b"evil 1")
    other = ImageStore(tmp_path / "other", tmp_path / "cache", builder)
    assert other.verified_disk(build(other)).read_bytes() == b"disk 2"


def test_a_damaged_list_of_digests_in_the_cache_is_built_again(
    store: ImageStore, builder: FakeBuilder, tmp_path: Path
) -> None:
    build(store)
    (document,) = (tmp_path / "cache").glob("*/image.json")
    document.write_text("{}")
    build(ImageStore(tmp_path / "other", tmp_path / "cache", builder))
    assert builder.built == 2


def test_a_cache_that_others_can_write_is_refused(
    store: ImageStore, builder: FakeBuilder, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(HostUnprotected, match="Others could write"):
        build(store)
    assert builder.built == 0


def test_a_build_that_fails_leaves_nothing_and_can_be_repeated(
    store: ImageStore, builder: FakeBuilder, tmp_path: Path
) -> None:
    builder.fails_with = StrongroomError("The archive is away.")
    with pytest.raises(StrongroomError, match="archive is away"):
        build(store)
    assert store.all() == []
    assert not list(tmp_path.glob("*/*.part"))
    builder.fails_with = None
    assert build(store).name == "debian-12"


def test_what_a_killed_build_left_is_removed_and_nothing_else(store: ImageStore, tmp_path: Path) -> None:
    image = build(store)
    for left in ("images/1234.0a0a0a0a.part", "cache/debian-12-abc.0b0b0b0b.part/work/root"):
        (tmp_path / left).mkdir(parents=True)
    permit = permit_for(Action.IMAGE_BUILD, SITE)
    assert store.remove_unfinished(permit, SITE) == ["1234.0a0a0a0a.part", "debian-12-abc.0b0b0b0b.part"]
    assert not list(tmp_path.glob("*/*.part"))
    assert store.all() == [image]
    assert store.remove_unfinished(permit, SITE) == []


def test_what_another_instance_builds_at_this_moment_is_not_removed(
    store: ImageStore, builder: FakeBuilder, tmp_path: Path
) -> None:
    other = ImageStore(tmp_path / "other", tmp_path / "cache", builder)
    removed: list[list[str]] = []

    def look(percent: int, _sentence: str) -> None:
        if percent == 90:
            removed.append(other.remove_unfinished(permit_for(Action.IMAGE_BUILD, SITE), SITE))

    store.build(permit_for(Action.IMAGE_BUILD, SITE), SITE, "debian-12", look)
    assert removed == [[]]


def test_two_instances_that_build_at_the_same_moment_build_once(
    store: ImageStore, builder: FakeBuilder, tmp_path: Path
) -> None:
    other = ImageStore(tmp_path / "other", tmp_path / "cache", builder)
    waiting = threading.Event()
    second: list[Image] = []

    def wait_for_it(_percent: int, sentence: str) -> None:
        if "Waiting for another instance" in sentence:
            waiting.set()

    permit = permit_for(Action.IMAGE_BUILD, SITE)
    thread = threading.Thread(
        target=lambda: second.append(other.build(permit, SITE, "debian-12", wait_for_it))
    )

    def start_the_other(percent: int, _sentence: str) -> None:
        if percent == 90:
            thread.start()
            assert waiting.wait(10)

    first = store.build(permit_for(Action.IMAGE_BUILD, SITE), SITE, "debian-12", start_the_other)
    thread.join(10)
    assert (builder.built, permit.facts) == (1, {"reused": "cache"})
    assert second[0].files == first.files


def test_an_unknown_recipe_is_not_found_and_the_known_ones_are_named(store: ImageStore) -> None:
    with pytest.raises(NotFound) as failure:
        store.build(permit_for(Action.IMAGE_BUILD, SITE), SITE, "debain-12")
    assert "debian-12" in failure.value.hint


def test_an_unknown_image_is_not_found_and_the_closest_name_is_offered(store: ImageStore) -> None:
    with pytest.raises(NotFound) as failure:
        store.get("debian-12")
    assert "strongroom image build" in failure.value.hint
    build(store)
    with pytest.raises(NotFound, match="debain-12") as failure:
        store.get("debain-12")
    assert "Did you mean 'debian-12'?" in failure.value.hint
    with pytest.raises(NotFound):
        store.get("0f0e0d0c-0000-4000-8000-000000000000")


@pytest.mark.parametrize("name", [DISK_FILE, KERNEL_FILE, INITRD_FILE])
@pytest.mark.parametrize("damage", ["changed", "longer", "gone", "link"])
def test_a_file_that_is_not_what_it_was_is_named(
    store: ImageStore, tmp_path: Path, name: str, damage: str
) -> None:
    image = build(store)
    path = image.folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "longer":
        path.write_bytes(content + b"\0")
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content + b"later")
        path.symlink_to(tmp_path / "elsewhere")
    use: Callable[[], object] = (
        (lambda: store.verified_disk(image)) if name == DISK_FILE else (lambda: store.verified_kernel(image))
    )
    for attempt in (lambda: verify(store, image), use, lambda: build(store)):
        with pytest.raises(IntegrityFailure) as failure:
            attempt()
        assert str(path) in failure.value.message
        assert failure.value.exit_code == 7


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "null", "{", '{"v":1}', "\N{SNOWMAN}", "[" * 100_000],
    ids=["empty", "object", "list", "null", "cut", "short", "no ascii", "deep"],
)
def test_a_damaged_list_of_digests_is_named_and_its_image_can_still_be_deleted(
    store: ImageStore, content: str
) -> None:
    image = build(store)
    (image.folder / "image.json").write_text(content)
    for look in (store.all, lambda: store.get(image.id), lambda: store.get("debian-12")):
        with pytest.raises(IntegrityFailure, match=image.id):
            look()
    store.delete(permit_for(Action.IMAGE_DELETE, ref(image)), ref(image), image.id)
    assert store.all() == []


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"files": {}},
        {"files": {"../../etc/shadow": {"sha256": "0" * 64, "size_bytes": 1}}},
        {"files": {DISK_FILE: {"sha256": "0" * 63, "size_bytes": 1}}},
        {"files": {DISK_FILE: {"sha256": "0" * 64, "size_bytes": -1}}},
        {"kernel_options": None},
        {"firmware": "magic"},
        {"id": "../.."},
        {"created_at": "yesterday"},
        {"virtual_size_bytes": True},
    ],
    ids=lambda change: next(iter(change)) + "=" + str(next(iter(change.values())))[:20],
)
def test_a_list_of_digests_that_says_what_none_of_ours_says_is_damaged(
    store: ImageStore, change: dict[str, object]
) -> None:
    image = build(store)
    document = json.loads(image.document) | change
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    (image.folder / "image.json").write_text(text)
    with pytest.raises(IntegrityFailure):
        read_image(image.folder)


def test_an_image_put_in_anothers_place_is_noticed(
    store: ImageStore, builder: FakeBuilder, tmp_path: Path
) -> None:
    image = build(store)
    other = build(ImageStore(tmp_path / "other", tmp_path / "cache", builder))
    (image.folder / "image.json").write_bytes((other.folder / "image.json").read_bytes())
    with pytest.raises(IntegrityFailure, match="another image"):
        store.get(image.id)


def test_the_newest_image_of_a_name_is_meant(store: ImageStore, builder: FakeBuilder) -> None:
    old = build(store)
    changed = json.loads(old.document) | {
        "recipe_sha256": "0" * 64,
        "created_at": "2020-01-01T00:00:00.000000Z",
    }
    (old.folder / "image.json").write_text(json.dumps(changed, sort_keys=True, separators=(",", ":")))
    new = build(store)
    assert new.id != old.id
    assert store.get("debian-12") == new
    assert builder.built == 1


def test_a_deleted_image_is_gone_and_cannot_be_deleted_twice(store: ImageStore) -> None:
    image = build(store)
    permit = permit_for(Action.IMAGE_DELETE, ref(image))
    store.delete(permit, ref(image), image.id)
    assert not image.folder.exists()
    with pytest.raises(NotFound):
        store.delete(permit, ref(image), image.id)


def test_a_permit_for_one_image_does_not_reach_another(store: ImageStore) -> None:
    image = build(store)
    other = EntityRef(EntityType.IMAGE, "0f0e0d0c-0000-4000-8000-000000000000")
    with pytest.raises(BadInput):
        store.delete(permit_for(Action.IMAGE_DELETE, other), other, image.id)
    with pytest.raises(BadInput):
        store.verify(permit_for(Action.IMAGE_VERIFY, other), other, image)
    assert store.all() == [image]


def test_nothing_is_done_without_a_fitting_open_permit(store: ImageStore, builder: FakeBuilder) -> None:
    image = build(store)
    here = ref(image)
    acts: list[Callable[[Permit], object]] = [
        lambda permit: store.build(permit, SITE, "debian-12"),
        lambda permit: store.verify(permit, here, image),
        lambda permit: store.delete(permit, here, image.id),
        lambda permit: store.remove_unfinished(permit, SITE),
    ]
    for act in acts:
        for permit in (permit_for(Action.IMAGE_LIST, SITE), closed(permit_for(Action.IMAGE_BUILD, SITE))):
            with pytest.raises(PermitRefused):
                act(permit)
    assert (store.all(), builder.built) == ([image], 1)


def test_the_digest_of_an_image_changes_with_each_of_its_files(store: ImageStore) -> None:
    image = build(store)
    digests = {image.sha256}
    for name, file in image.files.items():
        digests.add(replace(image, files={**image.files, name: replace(file, sha256="0" * 64)}).sha256)
    assert len(digests) == 1 + len(image.files)
