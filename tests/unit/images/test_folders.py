import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from vault.disks.images.folders import discard, new_part, publish, sha256_file
from vault.errors import Conflict, HostFailure


def test_a_folder_gets_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    part = new_part(tmp_path, "image")
    (part / "disk").write_bytes(b"content")
    assert not (tmp_path / "image").exists()
    publish(part, tmp_path / "image")
    assert (tmp_path / "image" / "disk").read_bytes() == b"content"
    assert not part.exists()


def test_a_taken_name_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    part = new_part(tmp_path, "image")
    with pytest.raises(Conflict):
        publish(part, tmp_path / "image")
    assert part.exists()


def test_what_is_discarded_is_gone_with_all_that_is_in_it_but_not_what_links_point_at(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "link").symlink_to(kept)
    discard(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (kept / "file").read_text() == "kept"
    discard(folder)


def test_a_folder_with_something_mounted_below_it_is_never_removed(tmp_path: Path) -> None:
    # In a mount namespace of its own, so that a failing test leaves no mount behind.
    below = tmp_path / "image.0a0a0a0a.part" / "root" / "odd name"
    precious = tmp_path / "precious"
    for folder in (below, precious):
        folder.mkdir(parents=True)
    (precious / "file").write_text("of the host")
    program = (
        "import sys; from pathlib import Path; from vault.disks.images.folders import discard\n"
        "from vault.errors import HostFailure\n"
        "try: discard(Path(sys.argv[1]))\n"
        "except HostFailure as error: print(error.message)\n"
    )
    script = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$5"'
    arguments: list[str | Path] = [precious, below, sys.executable, program, tmp_path / "image.0a0a0a0a.part"]
    said = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert f"{below} is mounted below" in said.stdout
    assert (precious / "file").read_text() == "of the host"


def test_a_file_is_hashed_as_it_lies_there_and_never_through_a_link(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192 + b"rest"
    path = tmp_path / "file"
    path.write_bytes(content)
    assert sha256_file(path) == hashlib.sha256(content).hexdigest()
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(HostFailure):
        sha256_file(tmp_path / "link")
