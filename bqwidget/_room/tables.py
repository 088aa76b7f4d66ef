"""Tables: the first rows and columns of what pandas, polars, pyarrow and NumPy have in memory.

No library is imported for this: the library of an object's type is loaded already.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import islice
from types import ModuleType
from typing import Any

from bqwidget.protocol import Table, truncate

MAX_TABLE_ROWS, MAX_TABLE_COLUMNS = 50, 20
"""The part of a table that is sent."""
MAX_CELL_LENGTH = 200
MAX_SAFE_INTEGER = 1 << 53
"""JavaScript's numbers are not exact above it."""
MAX_NESTING = 3
"""Levels of lists and dicts in a cell whose values are shown without their classes."""


class _Value(str):
    """The text of a value that is not a text: without quotes in a list."""

    __slots__ = ()


def to_table(thing: Any) -> Table | None:
    """The first rows and columns of a table; None if ``thing`` is none that a loaded library can read.

    A table is one of pandas or NumPy, or has ``__arrow_c_stream__``, as those of polars, pyarrow and others have. Raises TypeError for an array of more than two dimensions, or none.
    """
    if isinstance(thing, type | ModuleType):
        return None
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None and isinstance(thing, pandas.DataFrame | pandas.Series):
        return _of_pandas(pandas, thing)
    if numpy is not None and isinstance(thing, numpy.ndarray):
        return _of_numpy(thing)
    pyarrow, polars = sys.modules.get("pyarrow"), sys.modules.get("polars")
    if pyarrow is not None and isinstance(thing, pyarrow.Array | pyarrow.ChunkedArray):
        return _of_pyarrow(pyarrow.table({"0": thing}))
    if pyarrow is not None and isinstance(thing, pyarrow.Table | pyarrow.RecordBatch):
        return _of_pyarrow(thing)  # polars has not all of its types
    if hasattr(thing, "__arrow_c_stream__") and polars is not None:
        return _of_polars(polars.DataFrame(thing))
    if hasattr(thing, "__arrow_c_stream__") and pyarrow is not None:
        return _of_pyarrow(pyarrow.table(thing))
    return None


def _of_pandas(pandas: Any, thing: Any) -> Table:
    frame = thing.to_frame() if isinstance(thing, pandas.Series) else thing
    shown = frame.iloc[:MAX_TABLE_ROWS]
    columns = [_column_name(name) for name in frame.columns]
    count = min(len(columns), MAX_TABLE_COLUMNS)
    cells = [[_cell_value(value) for value in shown.iloc[:, number]] for number in range(count)]
    total = len(columns)
    if not _is_default(frame.index, pandas.RangeIndex):
        is_named = any(name is not None for name in frame.index.names)
        columns = [_column_name(frame.index.names if is_named else None), *columns]
        cells = [[_column_name(label) for label in shown.index], *cells]
        total += 1
    cells = cells[:MAX_TABLE_COLUMNS]
    return Table(
        columns=tuple(columns[: len(cells)]),
        rows=tuple(zip(*cells, strict=True)),
        total_rows=len(frame),
        total_columns=total,
    )


def _is_default(index: Any, kind: Any) -> bool:
    """Whether it only numbers the rows from 0. That of `frame.tail()` says which rows they are."""
    return isinstance(index, kind) and index.name is None and (index.start, index.step) == (0, 1)


def _of_numpy(array: Any) -> Table:
    """The rows of an array of two dimensions; a column for one of one dimension, or for each field of its records."""
    names = array.dtype.names
    is_matrix = array.ndim == 2  # noqa: PLR2004 - rows and columns
    if not (array.ndim == 1 or (is_matrix and not names)):
        raise TypeError(f"text is an array of the shape {array.shape}: a table has one or two dimensions")
    shown = array[:MAX_TABLE_ROWS]
    if names:
        columns = [(name, list(shown[name])) for name in names[:MAX_TABLE_COLUMNS]]
    elif array.ndim == 1:
        columns = [("0", list(shown))]
    else:
        columns = [(str(number), list(shown[:, number])) for number in range(min(array.shape[1], MAX_TABLE_COLUMNS))]
    return _of_columns(columns, len(array), array.shape[1] if is_matrix else len(names or "1"))


def _of_polars(frame: Any) -> Table:
    shown = [(name, _polars_values(frame[name][:MAX_TABLE_ROWS])) for name in frame.columns[:MAX_TABLE_COLUMNS]]
    return _of_columns(shown, frame.height, frame.width)


def _polars_values(column: Any) -> list[Any]:
    """Python's values, also in lists and structs; text where Python's types hold less: nanoseconds, and years after 9999."""
    kind, unit = column.dtype.base_type().__name__, getattr(column.dtype, "time_unit", None)
    if kind in ("List", "Array"):
        return [None if each is None else _polars_values(each[:MAX_CELL_LENGTH]) for each in column]
    if kind == "Struct":
        fields = {name: _polars_values(column.struct.field(name)) for name in column.struct.fields}
        nulls = enumerate(column.is_null())
        return [None if null else {name: values[row] for name, values in fields.items()} for row, null in nulls]
    try:
        if kind != "Time" and unit != "ns":
            return list(column.to_list())
    except (ValueError, OverflowError):
        pass
    texts = column.dt.to_string("polars" if kind == "Duration" else "iso")
    return [None if text is None else _Value(text) for text in texts]


def _of_pyarrow(table: Any) -> Table:
    first = table.slice(0, MAX_TABLE_ROWS)
    shown = [
        (name, [_arrow_value(each) for each in first[number]])
        for number, name in enumerate(table.column_names[:MAX_TABLE_COLUMNS])
    ]
    return _of_columns(shown, table.num_rows, table.num_columns)


def _arrow_value(scalar: Any) -> Any:
    """Like ``_polars_values``."""
    if not scalar.is_valid:
        return None
    kind = type(scalar).__name__
    if kind == "StructScalar":
        return {name: _arrow_value(each) for name, each in scalar.items()}
    if kind.endswith("ListScalar"):
        return [_arrow_value(each) for each in scalar.values[:MAX_CELL_LENGTH]]
    try:
        if str(scalar.type) != "time64[ns]":
            return scalar.as_py()
    except (ValueError, OverflowError):
        pass
    unit = f" {scalar.type.unit}" if kind == "DurationScalar" else ""
    return _Value(f"{scalar.cast('string').as_py()}{unit}")


def _of_columns(columns: Sequence[tuple[str, Sequence[object]]], total_rows: int, total_columns: int) -> Table:
    cells = [[_cell_value(value) for value in values] for _, values in columns]
    return Table(
        columns=tuple(_column_name(name) for name, _ in columns),
        rows=tuple(zip(*cells, strict=True)),
        total_rows=total_rows,
        total_columns=total_columns,
    )


def _column_name(label: Any) -> str:
    if isinstance(label, str):
        return _cell_text(label)
    if isinstance(label, tuple | list) or type(label).__name__ == "FrozenList":
        return " / ".join("" if each is None else _cell_text(each) for each in label)
    return "" if label is None else _cell_text(label)


def _cell_value(value: Any) -> str | int | float | bool | None:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if type(value).__name__ in ("datetime64", "timedelta64"):  # `item` of nanoseconds is a number
        return None if str(value) == "NaT" else _cell_text(value)
    if type(value).__name__ == "MaskedConstant":
        return None
    value = value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value
    if isinstance(value, bool | str):
        return _cell_text(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return value if abs(value) < MAX_SAFE_INTEGER else str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else str(value)
    return _cell_text(value)


def _cell_text(value: object) -> str:
    """Truncated text without lone surrogates, which can't be sent."""
    return truncate(_plain(value), MAX_CELL_LENGTH).encode(errors="replace").decode()


def _plain(value: Any, depth: int = 0) -> str:
    """As pandas shows it, without the classes of what is in lists and dicts: [1.5], not [np.float64(1.5)]."""
    if depth > 0 and isinstance(value, str) and not isinstance(value, _Value):
        return repr(str(value))
    if depth < MAX_NESTING and type(value) in (list, tuple):
        inner = ", ".join(_plain(each, depth + 1) for each in value[:MAX_CELL_LENGTH])
        if type(value) is list:
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if depth < MAX_NESTING and type(value) is dict:
        items = islice(value.items(), MAX_CELL_LENGTH)
        return f"{{{', '.join(f'{_plain(key, depth + 1)}: {_plain(each, depth + 1)}' for key, each in items)}}}"
    return str(value)
