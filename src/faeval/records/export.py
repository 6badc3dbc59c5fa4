"""Records as one table: a row per trial and state, for parquet and CSV.

trial … trainable_blocks   the trial: its id, data, model and rule (name, and all options as JSON)
recipe_*                   the fields of `core.trial.Recipe`
status … seconds           the record: see `records.schema.TrialRecord`
diagnostics                what the rule says of its own working, as JSON
version_*                  of the packages it was trained with
state and what follows     the fields of `core.reading.Reading`, nested ones as `null_std`,
                           `direction_coherence`, `probes_rho`, `cosine_q05`, `bfloat16_cosine`;
                           empty where a number is undefined or was not taken

A trial that diverged has one row, without a state.
"""

import json
import uuid
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from faeval.core.errors import InputError
from faeval.core.frames import flat
from faeval.core.spec import Spec
from faeval.records.schema import TrialRecord

SUFFIXES = (".parquet", ".csv")


def rows(record: TrialRecord) -> Iterator[dict[str, Any]]:
    """The rows of one record, in the order of its states."""
    trial = record.trial
    own = {
        "trial": trial.id,
        "data": trial.data,
        **_named("model", trial.model),
        **_named("rule", trial.rule),
        "penalty": trial.penalty,
        "labels": trial.labels,
        "reading_feedback": trial.reading_feedback,
        "seed": trial.seed,
        "trainable_blocks": trial.trainable_blocks,
        **{f"recipe_{key}": value for key, value in dict(trial.recipe).items()},
        # A word, a number or a list: a column holds one type.
        "recipe_course": json.dumps(trial.recipe.course),
        "status": record.status,
        "accuracy": record.accuracy,
        "score": record.score,
        "divergence_epoch": record.divergence and record.divergence.epoch,
        "divergence_layer": record.divergence and record.divergence.layer,
        "data_fingerprint": record.data_fingerprint,
        "device": record.device,
        "processor": record.processor,
        "threads": record.threads,
        # As many as the rule has, and some rules none: names and values in one cell.
        "diagnostics": json.dumps({d.name: d.value for d in record.diagnostics}),
        "seconds": record.seconds,
        **{f"version_{name}": version for name, version in record.versions.items()},
    }
    for reading in record.layers:
        yield own | flat(reading)
    if not record.layers:
        yield own


def export(records: Iterable[TrialRecord], to: Path) -> int:
    """Write the rows of `records` to `to`, atomically; how many there are. Raises InputError for
    a name that ends in neither .parquet nor .csv, or a folder that cannot be written."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    if to.suffix not in SUFFIXES:
        raise InputError(
            f"a file name that ends in {' or '.join(SUFFIXES)}", str(to), "write --to trials.csv"
        )
    # Rows with the same columns follow each other: these become one table, column by column.
    alike = groupby((row for record in records for row in rows(record)), key=tuple)
    tables = []
    for names, some in alike:
        columns = zip(*(row.values() for row in some), strict=True)
        tables.append(pa.table(dict(zip(names, map(list, columns), strict=True))))
    arrow = pa.concat_tables(tables, promote_options="permissive")
    temporary = to.with_name(f".{to.name}.{uuid.uuid4().hex}")
    try:
        if to.suffix == ".csv":
            csv.write_csv(arrow, temporary)
        else:
            parquet.write_table(arrow, temporary)
        temporary.replace(to)
    except OSError as error:
        raise InputError(
            "a file that can be written", f"{to} ({error.strerror or error})", "choose another"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return arrow.num_rows


def _named(kind: str, spec: Spec) -> dict[str, str]:
    options = {key: value for key, value in spec.items() if key != "name"}
    return {kind: spec["name"], f"{kind}_options": json.dumps(options, sort_keys=True)}
