"""The running cell as a message: its source and its text as blocks of code, its pictures and tables as attachments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from bqwidget._client.http_client import Attachment
from bqwidget._room.arguments import wrong_value
from bqwidget._room.attachments import picture_in, to_attachment
from bqwidget._room.tables import to_table
from bqwidget._threads.cell_content import CellContent, running_cell
from bqwidget._threads.figures import shown_figures
from bqwidget.protocol import MAX_CELL_ID, MAX_NOTEBOOK_PATH, CellAnchor, truncate

MAX_SOURCE_LENGTH = 16_000
MAX_OUTPUT_LENGTH = 4_000
"""Characters of a cell that are sent. Together with some words they are within the limit of a text."""
MAX_OUTPUTS = 8
"""Pictures and tables of one cell that are sent."""

_TERMINAL_CODE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_MAGIC_LINE = re.compile(r"\A\s*%%share\b.*\n?")


class CellMessage:
    """``anchor``: None where the frontend gives cells no ids, as a console."""

    def __init__(self, cell: CellContent, attachments: Iterable[Attachment]) -> None:
        self.anchor: CellAnchor | None = None
        if 0 < len(cell.id) <= MAX_CELL_ID:
            self.anchor = CellAnchor(path=cell.path if len(cell.path) <= MAX_NOTEBOOK_PATH else "", id=cell.id)
        self._source = _MAGIC_LINE.sub("", cell.source, count=1).strip("\n")
        self._printed = cell.printed
        attached = [*attachments, *map(to_attachment, shown_figures())]
        for bundle in cell.displays:
            if (picture := picture_in(bundle)) is not None:
                attached.append(picture)
            else:
                self._printed += f"{bundle.get('text/plain', '')}\n"
        if to_table(cell.result) is not None:
            attached.append(to_attachment(cell.result))
        once = {attachment.part.sha256: attachment for attachment in attached}
        self.attachments = list(once.values())[:MAX_OUTPUTS]

    def text(self, words: str) -> str:
        """``words``, and below them what the cell has as text."""
        printed = _TERMINAL_CODE.sub("", self._printed).strip("\n")
        blocks = [words, _block(self._source, MAX_SOURCE_LENGTH, "python"), _block(printed, MAX_OUTPUT_LENGTH)]
        return "\n\n".join(block for block in blocks if block)


def cell_message(attachments: Iterable[Attachment] = (), ended: Any = None) -> CellMessage:
    """Of the running cell, or of the one of IPython's result ``ended``, after ``attachments``.

    Raises ArgumentError where no cell runs.
    """
    cell = running_cell(ended)
    if cell is None:
        raise wrong_value(
            "cell", given=True, remedy="it sends the running cell of a notebook, and none runs here: leave it out"
        )
    return CellMessage(cell, attachments)


def _block(text: str, limit: int, language: str = "") -> str:
    """``text`` as a block of code, with a fence that is longer than those in it."""
    if not text.strip():
        return ""
    longest = max((len(found) for found in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{truncate(text, limit)}\n{fence}"
