"""`faeval export`: the records of a study as one table."""

from pathlib import Path

from faeval.records.export import export
from faeval.study.folder import records_of


def run_export(study: Path, to: Path) -> int:
    """Write the table and say where; the exit code."""
    count = export(records_of(study), to)
    print(f"{count} rows: {to}")
    return 0
