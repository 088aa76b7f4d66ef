"""The search index of a SQLite log: one that an earlier version wrote is built again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from bqserver.model import Submission
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.storage.sqlite.search import INDEX_VERSION, index_path

from bqwidget.protocol import Send

EARLIER_SCHEMA = """
CREATE TABLE meta (epoch TEXT NOT NULL);
CREATE TABLE cursor (room INTEGER PRIMARY KEY, id INTEGER NOT NULL);
CREATE VIRTUAL TABLE found USING fts5 (user, text, tokenize = "unicode61 remove_diacritics 2");
"""


def test_an_index_of_an_earlier_version_is_built_again(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"

    async def main() -> None:
        log = SqliteLog(path)
        texts = ["我家在上海东边", "hello there"]
        drafts = [Send(cid=str(number), user="ada", text=text) for number, text in enumerate(texts)]
        await log.append([Submission("lobby", "ada", draft) for draft in drafts])
        with closing(sqlite3.connect(index_path(path))) as db:
            db.executescript(EARLIER_SCHEMA)
            db.execute("INSERT INTO meta VALUES (?)", (log.epoch,))
            db.execute("INSERT INTO cursor VALUES (1, ?)", ((1 << 40) + 2,))
            rows = [((1 << 40) + seq, "ada", text) for seq, text in enumerate(texts, 1)]
            db.executemany("INSERT INTO found (rowid, user, text) VALUES (?, ?, ?)", rows)
            db.commit()
        for words, text in (("上海", texts[0]), ("hello", texts[1])):
            assert [json.loads(body)["text"] for body in await log.search("lobby", words, limit=9)] == [text]
        await log.close()
        with closing(sqlite3.connect(index_path(path))) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (INDEX_VERSION,)

    asyncio.run(main())
