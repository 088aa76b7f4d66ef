"""Progress of loops and jobs: what others see, how often it is updated, how it wait_for_end, and its cost."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import time
from threading import Event
from urllib.request import Request, urlopen

import pytest
from bqserver.testing import running_server
from support.eventually import eventually
from tqdm import tqdm

from bqwidget import BqwidgetError, Room
from bqwidget._room.progress import (
    ProgressRate,
    exited_deliberately,
    format_duration,
    format_number,
)
from bqwidget._room.status_message import MAX_EDIT_INTERVAL, MIN_EDIT_INTERVAL, edit_interval
from bqwidget._room.writing.lines import MAX_LABEL_LENGTH, error_line, truncate
from bqwidget.protocol import Limits


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def last(room):
    return room.messages[-1].text if room.messages else ""


def wait_for_end(room, start, *parts):
    """Wait until the only message starts with ``start`` and contains all other texts."""
    eventually(lambda: last(room).startswith(start), what=f"{start} in {last(room)}")
    assert [part for part in parts if part not in last(room)] == []
    assert len(room.messages) == 1


def edits(server, room):
    """The edits of the room, as raw entries of the log."""
    request = Request(
        f"{server.url}/rooms/{room.name}/log?limit=200", headers={"Authorization": f"Bearer {server.token}"}
    )
    with urlopen(request) as answer:
        return [entry for entry in json.load(answer) if entry.get("kind") == "edit"]


# ---- the texts ----


def test_the_rate_covers_the_last_seconds():
    clock = Clock()
    measured = ProgressRate(1000, clock)
    assert measured.line(0) == "0 % · 0/1,000"
    clock.now = 10
    assert measured.line(100) == "10 % · 100/1,000 · 10/s · 1 min 30 s left"
    for clock.now in range(11, 31):  # faster from here on
        line = measured.line(100 + 40 * int(clock.now - 10))
    assert line == "90 % · 900/1,000 · 40/s · 2.5 s left"
    assert measured.summary(900) == "90 % · 900/1,000 in 30 s · 30/s"


def test_a_loop_of_unknown_length_has_a_count_and_a_rate():
    clock = Clock()
    measured = ProgressRate(-1, clock)
    clock.now = 2
    assert measured.line(5000) == "5,000 · 2,500/s"
    assert measured.summary(5000) == "5,000 in 2 s · 2,500/s"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (0.42, "0.42 s"), (9.96, "10 s"), (59.4, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_durations_are_readable(seconds, expected):
    assert format_duration(seconds) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.123456, "0.123"), (42.0, "42"), (12345.6, "12,346")])
def test_numbers_are_readable(value, expected):
    assert format_number(value) == expected


def test_an_error_becomes_one_short_line():
    assert error_line(ValueError("bad\nand more")) == "ValueError: bad"
    assert error_line(ValueError()) == "ValueError"
    assert error_line(KeyboardInterrupt()) == "interrupted"
    assert len(error_line(ValueError("x" * 1000))) == MAX_LABEL_LENGTH
    assert truncate("short") == "short"


# ---- track ----


def test_a_completed_loop_ends_with_a_check_mark(join):
    room = join()
    assert list(room.track(range(1000), "epoch 3")) == list(range(1000))
    wait_for_end(room, "✓ epoch 3: 100 % · 1,000/1,000 in ", "/s")


def test_progress_is_one_edited_message(join, room_server):
    ada, bob = join("ada"), join("bob")
    seen = []
    bob.observe(lambda change: seen.append(change.new[-1].text), "messages")
    moved = Event()
    for item in ada.track(itertools.count(), "epoch 3"):
        if item % 1000 == 0 and len({text for text in seen if text.startswith("⏳ epoch 3: ")}) > 2:
            moved.set()
            break
    assert moved.is_set()
    wait_for_end(bob, "■ epoch 3: ", "stopped")
    (first, *_) = {message.seq for message in bob.messages}
    assert {edit["target"] for edit in edits(room_server, bob)} == {first}


def test_there_are_at_most_two_edits_per_second(join, room_server):
    room = join()
    began = time.monotonic()
    for _ in room.track(itertools.count(), "epoch 3"):
        if time.monotonic() - began > 3:
            break
    wait_for_end(room, "■ epoch 3")
    *going, last_one = edits(room_server, room)
    assert 4 <= len(going) <= 7
    gaps = [after["at"] - before["at"] for before, after in itertools.pairwise(going)]
    assert min(gaps) >= 1000 * MIN_EDIT_INTERVAL - 60  # the server's clock has jitter
    assert last_one["text"].startswith("■")


def test_an_exception_in_the_loop_is_shown(join):
    room = join()
    with pytest.raises(ValueError, match="boom"):
        for item in room.track(range(10), "epoch 3"):
            if item == 4:
                raise ValueError("boom")
    wait_for_end(room, "✗ epoch 3: 40 % · 4/10", "ended by an exception")


def test_an_interrupt_in_the_loop_is_shown(join):
    room = join()
    with pytest.raises(KeyboardInterrupt):
        for _ in room.track(range(10), "epoch 3"):
            raise KeyboardInterrupt
    wait_for_end(room, "✗ epoch 3: 0 % · 0/10")


def test_an_exception_of_the_iterable_is_named(join):
    room = join()

    def loader():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        list(room.track(loader(), "epoch 3"))
    wait_for_end(room, "✗ epoch 3: ", "OSError: the disk is gone")


def test_break_ends_with_a_square(join):
    room = join()

    def first():
        for item in room.track(range(10), "search"):
            if item == 4:
                return item
        return None

    assert first() == 4
    wait_for_end(room, "■ search: 40 % · 4/10", "stopped")


def test_deliberate_exits_are_recognised():
    frames = []

    def numbers():
        try:
            yield from range(5)
        finally:
            frames.append(exited_deliberately(sys._getframe().f_back))

    for _ in numbers():
        break
    for _ in zip([1], numbers(), strict=False):
        pass
    kept = numbers()
    next(kept)
    del kept
    assert frames == [True, True, True]
    for fail in (lambda: 1 / 0, lambda: {}[0], [].pop, lambda: None.nothing):
        with pytest.raises((ZeroDivisionError, KeyError, IndexError, AttributeError)):
            for _ in numbers():
                fail()
    with pytest.raises(ZeroDivisionError):
        for number in numbers():
            1 / number
    assert frames[3:] == [False] * 5


def test_the_total_number_of_items(join):
    room = join()
    assert len(room.track(range(7))) == 7
    assert len(room.track(iter(range(7)), total=9)) == 9
    with pytest.raises(TypeError, match="the number of items is unknown"):
        len(room.track(x for x in ()))


def test_progress_works_offline_without_waiting(unused_port):
    room = Room("offline", user="ada", url=f"http://127.0.0.1:{unused_port}")
    try:
        took = []
        for _ in range(3):  # a busy machine is slow now and then
            began = time.monotonic()
            assert sum(1 for _ in room.track(range(1000), "epoch 3")) == 1000
            with room.report("training") as report:
                report.update(0.5)
            took.append(time.monotonic() - began)
        assert min(took) < 1
        eventually(lambda: room.queued == 6)
    finally:
        room.close()
    assert sum(1 for _ in room.track(range(10), "closed")) == 10  # a loop outlives its room


def test_an_end_while_offline_is_sent_when_the_room_opens(unused_port):
    from bqserver.testing import running_server

    url = f"http://127.0.0.1:{unused_port}"
    with Room("lobby", user="ada", url=url) as room:
        list(room.track(range(10), "epoch 3"))
        with running_server(port=unused_port, open=True):
            room.wait_open(20)
            wait_for_end(room, "✓ epoch 3: 100 % · 10/10")


def test_the_final_text_is_sent_even_if_the_room_closes_at_once(join):
    ada, bob = join("ada"), join("bob")
    list(ada.track(range(10), "epoch 3"))
    ada.close()
    wait_for_end(bob, "✓ epoch 3")


@pytest.mark.alone
def test_an_iteration_costs_at_most_a_microsecond_more_than_tqdms(join):
    """The best of several alternating runs each, so that other load affects both."""
    room = join()
    count = 100_000

    def cost(loop):
        began = time.perf_counter()
        for _ in loop:
            pass
        return (time.perf_counter() - began) / count

    pairs = [(cost(tqdm(range(count), file=io.StringIO())), cost(room.track(range(count), "empty"))) for _ in range(7)]
    theirs, ours = (min(costs) for costs in zip(*pairs, strict=True))
    print(f"per iteration: tqdm {theirs * 1e9:.0f} ns, track {ours * 1e9:.0f} ns")
    assert ours <= theirs + 1e-6


# ---- report ----


def test_a_report_shows_its_updates(join):
    ada, bob = join("ada"), join("bob")
    with ada.report("training") as report:
        report.update(0.4, "loss 0.21")
        eventually(lambda: bob.messages and "40 % · loss 0.21 · " in last(bob))
        assert last(bob).startswith("⏳ training: ")
        assert last(bob).endswith(" left")
        report.update(text="loss 0.1")
        eventually(lambda: "40 % · loss 0.1 · " in last(bob))
    wait_for_end(bob, "✓ training: done in ", "loss 0.1")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("out of memory\nat line 3"), "RuntimeError: out of memory"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_a_report_names_the_error_that_ended_it(join, error, line):
    room = join()
    with pytest.raises(type(error)), room.report("training") as report:
        report.update(0.4)
        raise error
    wait_for_end(room, "✗ training", "40 %", line)
    assert "at line 3" not in last(room)


def test_an_invalid_fraction_is_an_error(join):
    room = join()
    with pytest.raises(BqwidgetError, match="fraction is 40: it must be from 0 to 1"):  # noqa: SIM117
        with room.report("training") as report:
            report.update(40)


def test_progress_uses_at_most_half_of_the_rate_limit():
    assert edit_interval(Limits(rate=0), 0) == MIN_EDIT_INTERVAL
    assert edit_interval(Limits(rate=20, rate_ms=10_000), 0) == 1.0
    assert edit_interval(Limits(rate=1000, rate_ms=1000), 0) == MIN_EDIT_INTERVAL


def test_older_progress_is_edited_less_often():
    paces = [edit_interval(Limits(rate=0), age) for age in (10, 60, 120, 3600, 86400)]
    assert paces == [MIN_EDIT_INTERVAL, 1.0, 2.0, MAX_EDIT_INTERVAL, MAX_EDIT_INTERVAL]


def test_unchanged_progress_is_not_edited(join, room_server):
    """Two reports in one room: while one has three edits, the unchanged other has one."""
    room = join()
    with room.report("still") as still, room.report("moving") as moving:
        still.update(0.5)
        for step in range(1, 4):
            moving.update(step / 10)
            eventually(lambda step=step: any(f"moving: {step}0 %" in m.text for m in room.messages))
        targets = [entry["target"] for entry in edits(room_server, room)]  # the log keeps only the newest texts
        first, second = (message.seq for message in room.messages)
    assert targets.count(first) == 1
    assert targets.count(second) >= 3


KILLED = """
from bqwidget import Room
room = Room("lobby", user="run")
with room.report("job") as report:
    report.update(0.4, "loss 0.21")
    for _ in room.track(range(100), "epoch 3"):
        input()
    for _ in room.track(range(1), "later"):
        input()
"""


def test_the_progress_of_a_killed_process_ends_and_what_was_done_stays(home, monkeypatch):
    """Also while another member has the same name, as the restarted kernel has."""
    with running_server(open=True, heartbeat=0.5) as server:
        monkeypatch.setenv("BQWIDGET_URL", server.url)
        with Room("lobby", user="run") as watching:
            process = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, text=True)
            try:
                process.stdin.write("\n" * 100)  # the first loop ends
                process.stdin.flush()
                eventually(lambda: "later" in last(watching), 30, "the second loop")
                eventually(lambda: watching.messages[1].text.startswith("✓ epoch 3"), what="the end of the first loop")
            finally:
                process.kill()
                process.wait()
                process.stdin.close()
            eventually(lambda: "⏳" not in "".join(m.text for m in watching.messages), 30, "the end of all progress")
            job, epoch, later = (message.text for message in watching.messages)
            assert job == "✗ job: 40 % · loss 0.21 · its kernel is gone"
            assert epoch.startswith("✓ epoch 3: 100 % · 100/100 in ")
            assert later.startswith("✗ later: 0 % · 0/1 in ")
            assert later.endswith(" · its kernel is gone")


ASKING = """
from bqwidget import Room
room = Room("lobby", user="run")
with room.report("job") as report:
    report.update(0.4, "loss 0.21")
    room.ask("Continue?", choices=["yes", "no"])
"""


def test_what_a_killed_process_left_open_ends_also_after_a_restart_of_the_server(
    home, monkeypatch, unused_port, tmp_path
):
    settings = {"open": True, "heartbeat": 0.5, "port": unused_port, "log": f"sqlite:{tmp_path / 'log.sqlite'}"}
    monkeypatch.setenv("BQWIDGET_URL", f"http://127.0.0.1:{unused_port}")
    with Room("lobby", user="bob") as watching:
        with running_server(**settings):
            process = subprocess.Popen([sys.executable, "-c", ASKING])
            eventually(lambda: last(watching) == "Continue?", 30, "the question")
            eventually(lambda: "40 %" in watching.messages[0].text, 30, "the progress")
        edited = watching.messages[0].edited
        with running_server(**settings):
            try:
                eventually(lambda: watching.messages[0].edited != edited, 30, "the progress after the restart")
                assert watching.messages[1].expired is None
            finally:
                process.kill()
                process.wait()
            eventually(lambda: watching.messages[1].expired, 30, "the end of the question")
            eventually(lambda: "⏳" not in watching.messages[0].text, 30, "the end of the progress")
            assert watching.messages[0].text == "✗ job: 40 % · loss 0.21 · its kernel is gone"
            assert len(watching.messages) == 2
