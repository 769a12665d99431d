"""The last operator: it writes rows into the output folder."""

from __future__ import annotations

import pyarrow as pa

from batch import rows
from batch.outputs.output_folder import OutputFolder
from batch.rows import Row


class RecordWriter:
    """Ray Data calls it with a batch of rows. It returns their outcomes, without the pictures."""

    def __init__(self, output: OutputFolder) -> None:
        self.output = output

    def __call__(self, batch: pa.Table) -> pa.Table:
        part = self.output.write_part(batch)
        kept = [name for name in rows.OUTCOME_SCHEMA.names if name in batch.column_names]
        written: list[Row] = batch.select(kept).to_pylist()
        return rows.to_table([{**row, "part": part} for row in written], rows.OUTCOME_SCHEMA)
