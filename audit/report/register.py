"""A register: rows of facts, shown as far as they fit and carried whole as CSV, from one source."""

from collections.abc import Sequence
from dataclasses import dataclass

from audit.report.attachment import Attachment
from audit.report.csv_table import csv_table
from audit.report.model import MAX_SHOWN_ROWS, Column, Grid, cells


@dataclass(frozen=True, slots=True)
class Register:
    """Rows under columns; `name` is the CSV file's, without its ending."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[object]]
    empty: str

    @property
    def file_name(self) -> str:
        """The CSV file's name."""
        return f"{self.name}.csv"

    def grid(self) -> Grid:
        """The rows that are shown."""
        return Grid(
            self.columns,
            tuple(cells(*row) for row in self.rows[:MAX_SHOWN_ROWS]),
            len(self.rows),
            empty=self.empty,
            rest=f"all of them in the attached {self.file_name}",
        )

    def table(self) -> Attachment:
        """All rows."""
        heads = [column.title for column in self.columns]
        return csv_table(self.file_name, self.title, heads, self.rows)
