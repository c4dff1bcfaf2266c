"""Whole tables as CSV (RFC 4180, UTF-8), for people who want to sort and count by themselves.

What stands in a cell may come from hostile hands: characters that would not show are spelled out, and a cell that a
spreadsheet would take for a formula begins with an apostrophe.
"""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from audit.report.attachment import Attachment, Packing
from audit.report.model import visible

_FORMULA = ("=", "+", "-", "@")
#: Rows put into one piece.
_BATCH = 500


def cell(value: object) -> str:
    """One value as a cell; None is empty."""
    if value is None:
        return ""
    text = str(value)
    if not (text.isascii() and text.isprintable()):
        text = visible(text)
    return f"'{text}" if text.startswith(_FORMULA) and not isinstance(value, int) else text


class CsvTable:
    """Writes a table row by row into an attachment."""

    def __init__(self, name: str, description: str, columns: Sequence[str]) -> None:
        self._packing = Packing(name, description, beside=True)
        self._buffer = StringIO()
        self._writer = csv.writer(self._buffer)
        self._waiting = 0
        self.rows = -1  # the head is none
        self.add(columns)

    def add(self, values: Iterable[object]) -> None:
        """Add a row."""
        self._writer.writerow([cell(value) for value in values])
        self.rows += 1
        self._waiting += 1
        if self._waiting >= _BATCH:
            self._hand_on()

    def attachment(self) -> Attachment:
        """End the table and give it."""
        self._hand_on()
        return self._packing.packed()

    def _hand_on(self) -> None:
        self._packing.write(self._buffer.getvalue().encode("utf-8", "backslashreplace"))
        self._buffer.seek(0)
        self._buffer.truncate()
        self._waiting = 0


def csv_table(
    name: str, description: str, columns: Sequence[str], rows: Iterable[Iterable[object]]
) -> Attachment:
    """A table whose rows are at hand."""
    table = CsvTable(name, description, columns)
    for row in rows:
        table.add(row)
    return table.attachment()
