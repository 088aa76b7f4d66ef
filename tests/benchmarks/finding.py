"""The cost of finding: ``python tests/benchmarks/finding.py [--messages 1000000] [--searches 200]``.

A room of that many messages is written directly to a SQLite log. Then a bqserver of its own answers, over HTTP:

- the first search, which builds the index (once), and searches after that for rare words, frequent words, pairs of words
  and beginnings of words;
- pages around a message (`?around=`), which is what opening a hit costs, and around a time (`?at=`), at random places.

Prints p50 and p95 in milliseconds. DESIGN 11: search p95 < 300 ms, opening a hit < 500 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "server")]

from bqserver.storage.sqlite.schema import SEQ_BITS, connect  # noqa: E402
from bqserver.testing import running_server  # noqa: E402

from bqwidget.protocol import Message, encode  # noqa: E402

WORDS = [f"{first}{last}" for first in ("loss", "step", "run", "epoch", "batch") for last in range(2_000)]
FREQUENT = ("training", "accuracy", "the", "of")
START_MS = 1_790_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--searches", type=int, default=200)
    options = parser.parse_args()
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="bqwidget-finding-") as folder:
        path = Path(folder) / "log.sqlite"
        with running_server(log=f"sqlite:{path}", open=True):
            pass  # creates the file
        started = time.perf_counter()
        write(path, options.messages, chance)
        print(f"{options.messages:,} messages written in {time.perf_counter() - started:.0f} s")
        with running_server(log=f"sqlite:{path}", open=True) as server:
            measure(server.url, options.messages, options.searches, chance)


def write(path: Path, count: int, chance: random.Random) -> None:
    with contextlib.closing(connect(path)) as db:
        (number,) = db.execute("INSERT INTO room (name) VALUES ('large') RETURNING id").fetchone()

        def rows() -> Iterable[tuple[object, ...]]:
            for seq in range(1, count + 1):
                text = " ".join([*chance.choices(WORDS, k=6), *chance.sample(FREQUENT, 2)])
                message = Message(seq=seq, room="large", user=("ada", "bob")[seq % 2], text=text, at=START_MS + seq)
                yield number << SEQ_BITS | seq, message.at, number, message.user, encode(message)

        db.execute("BEGIN")
        db.executemany("INSERT INTO entry (id, at, room, principal, body) VALUES (?, ?, ?, ?, ?)", rows())
        db.execute("COMMIT")


def measure(url: str, count: int, searches: int, chance: random.Random) -> None:
    def ask(path: str, **query: object) -> tuple[float, int]:
        started = time.perf_counter()
        with urlopen(f"{url}/rooms/large/{path}?{urlencode(query)}", timeout=1_800) as answer:
            found = json.load(answer)
        return (time.perf_counter() - started) * 1000, len(found)

    print(f"first search, which builds the index: {ask('search', q=WORDS[0])[0] / 1000:.0f} s")
    kinds: dict[str, Callable[[], tuple[float, int]]] = {
        "a rare word": lambda: ask("search", q=chance.choice(WORDS)),
        "two rare words": lambda: ask("search", q=" ".join(chance.sample(WORDS, 2))),
        "a frequent word": lambda: ask("search", q=chance.choice(FREQUENT)),
        "a frequent and a rare word": lambda: ask("search", q=f"{chance.choice(FREQUENT)} {chance.choice(WORDS)}"),
        "the beginning of a word": lambda: ask("search", q=chance.choice(WORDS)[:3]),
        "one letter": lambda: ask("search", q=chance.choice("lsreb")),
        "a word that no message has": lambda: ask("search", q="elephant"),
        "a page around a message": lambda: ask("messages", around=chance.randint(1, count)),
        "a page around a time": lambda: ask("messages", at=START_MS + chance.randint(1, count)),
    }
    for kind, request in kinds.items():
        times = sorted(request()[0] for _ in range(searches))
        p95 = times[int(len(times) * 0.95)]
        print(f"{kind:30} p50 {statistics.median(times):7.1f} ms   p95 {p95:7.1f} ms   max {times[-1]:7.1f} ms")


if __name__ == "__main__":
    main()
