"""The log as C2SP tlog-tiles lays it out: a checkpoint, tiles of hashes, bundles of entries, as plain files.

Such a folder behind any web server is a transparency log that other people's monitors can read.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from audit.errors import ExportFailed
from audit.log.export import ExportSummary, Progress, checkpoint_to_end_with
from audit.log.merkle import leaf_hash
from audit.log.new_folder import new_folder
from audit.log.proofs import TILE_WIDTH
from audit.log.query import LogQuery
from audit.log.tile_layout import ENTRY_LENGTH_BYTES, MAX_ENTRY_BYTES, Tiling, entries_path


def export_tiles(
    database: Path,
    target: Path,
    *,
    as_tar: bool = False,
    progress: Progress | None = None,
    size: int | None = None,
) -> ExportSummary:
    """Export the log as tiles, up to its newest checkpoint. Have one signed before.

    Args:
        database: the log's database.
        target: the folder or tar to make; its directory exists.
        as_tar: make a tar with the same files.
        progress: told how far it is.
        size: records of the checkpoint to end with; None takes the newest.

    Raises:
        TargetExists: there is something with this name.
        ExportFailed: there is no checkpoint, a record is too long for a tile, or it cannot be written.
        LogUnavailable: the log cannot be read.
        LogDamaged: a record is missing, or the checkpoint is not valid.
    """
    with new_folder(target, as_tar=as_tar) as folder, LogQuery(database) as log:
        note, head = checkpoint_to_end_with(log, size)
        tree = Tiling()
        for number, records in enumerate(_by_tiles(log.raw(0, head.size))):
            folder.write(entries_path(number, len(records)), _bundle(number, records))
            for path, data in tree.extend([leaf_hash(record) for record in records]):
                folder.write(path, [data])
            if progress is not None:
                progress(number * TILE_WIDTH + len(records), head.size)
        for path, data in tree.rest():
            folder.write(path, [data])
        folder.write("checkpoint", [note])
        # Not of the specification, and harmless to it: what our own verifier follows the key epochs by.
        folder.write("log.vkey", [f"{log.vkey}\n".encode()])
        folder.write("epochs.jsonl", (line + b"\n" for line in log.epoch_records(head.size)))
        return ExportSummary(target.absolute(), log.origin, head, folder.size_bytes)


def _by_tiles(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    tile: list[bytes] = []
    for record in records:
        tile.append(record)
        if len(tile) == TILE_WIDTH:
            yield tile
            tile = []
    if tile:
        yield tile


def _bundle(number: int, records: Sequence[bytes]) -> Iterator[bytes]:
    for offset, record in enumerate(records):
        if len(record) > MAX_ENTRY_BYTES:
            raise ExportFailed(
                f"Record {number * TILE_WIDTH + offset} is longer than the {MAX_ENTRY_BYTES} bytes that tiles allow.",
                "Export without --tiles.",
            )
        yield len(record).to_bytes(ENTRY_LENGTH_BYTES) + record
