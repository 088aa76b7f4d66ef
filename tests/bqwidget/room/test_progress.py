"""Progress of loops and jobs: what others see, how often it is updated, how it wait_for_end, and its cost."""

from __future__ import annotations

import dis
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

from bqwidget import BqwidgetError, Room, TrackStopped
from bqwidget._room.progress import Track, exited_deliberately
from bqwidget._room.writing.lines import MAX_LABEL_LENGTH, error_line
from bqwidget._room.writing.progress_message import UPDATE_INTERVAL
from bqwidget._room.writing.rate import ProgressRate, format_duration, format_number
from bqwidget.protocol import AppendFrame


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def last(room):
    return room.messages[-1].text if room.messages else ""


def wait_for_end(room, start, *parts):
    """Wait until the only message has ended with ``start``, and contains all other texts."""
    eventually(lambda: room.messages and room.messages[-1].end, what="the end")
    assert last(room).startswith(start), last(room)
    assert [part for part in parts if part not in last(room)] == []
    assert len(room.messages) == 1


def entries(server, room):
    """The raw entries of the log."""
    request = Request(
        f"{server.url}/rooms/{room.name}/log?limit=200", headers={"Authorization": f"Bearer {server.token}"}
    )
    with urlopen(request) as answer:
        return json.load(answer)


def updates(room):
    """A list that gets the time and the target of each update that reaches the room."""
    seen = []

    def listener(frames):
        seen.extend((time.monotonic(), frame.target) for frame in frames if isinstance(frame, AppendFrame))

    room._add_listener(listener)
    return seen


# ---- the texts ----


def test_the_rate_covers_the_last_seconds():
    clock = Clock()
    measured = ProgressRate(1000, clock)
    assert measured.line(0) == "0 % · 0/1,000"
    clock.now = 10
    assert (measured.line(100), measured.left_ms) == ("10 % · 100/1,000 · 10/s", 90_000)
    for clock.now in range(11, 31):  # faster from here on
        line = measured.line(100 + 40 * int(clock.now - 10))
    assert (line, measured.left_ms) == ("90 % · 900/1,000 · 40/s", 2_500)
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


# ---- track ----


def test_a_completed_loop_ends_with_a_check_mark(join):
    room = join()
    assert list(room.track(range(1000), "epoch 3")) == list(range(1000))
    wait_for_end(room, "✓ epoch 3: 100 % · 1,000/1,000 in ", "/s")


def test_progress_is_one_live_message(join, room_server):
    ada, bob = join("ada"), join("bob")
    seen = []
    bob.observe(lambda change: seen.append(change.new[-1]), "messages")
    for item in ada.track(range(10**13), "epoch 3"):  # so many that it stays at 0 %
        if item % 1000 == 0 and len({message.text for message in seen if message.live}) > 2:
            break
    wait_for_end(bob, "■ epoch 3: ", "stopped")
    running = [message for message in seen if message.live and not message.text.startswith("■")]
    ended = bob.messages[0]
    assert all(message.text.startswith("epoch 3\n0 % · ") for message in running)
    assert 0 < running[-1].progress.fraction < 0.1
    assert (ended.end, ended.live, ended.edited, ended.stopped_by) == ("stopped", False, None, None)
    assert [entry.get("kind") for entry in entries(room_server, bob)][-1] == "end"


def test_updates_are_not_in_the_log_and_at_most_two_per_second(join, room_server):
    ada, bob = join("ada"), join("bob")
    seen = updates(bob)
    began = time.monotonic()
    for _ in ada.track(itertools.count(), "epoch 3"):
        if len(seen) > 5:
            break
    took = time.monotonic() - began
    wait_for_end(bob, "■ epoch 3")
    assert len(seen) <= took / UPDATE_INTERVAL + 3  # and the first one, and the end
    assert len(entries(room_server, bob)) <= 4


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


def test_an_interrupt_of_a_short_loop_can_be_shown():
    """Python raises it at a jump back; IPython's traceback fails at an instruction that belongs to no line."""
    jumps = [one for one in dis.get_instructions(Track._run) if one.opname.startswith("JUMP_BACKWARD")]
    assert jumps
    assert all(one.positions is not None and one.positions.lineno is not None for one in jumps)


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


@pytest.mark.usefixtures("closes_soon")
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
        eventually(lambda: last(bob) == "training\n40 % · loss 0.21")
        assert bob.messages[0].progress.fraction == 0.4
        assert bob.messages[0].progress.left_ms >= 0
        report.update(text="loss 0.1")
        eventually(lambda: last(bob) == "training\n40 % · loss 0.1")
    wait_for_end(bob, "✓ training: done in ", "loss 0.1")
    assert bob.messages[0].progress.left_ms is None


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


def test_unchanged_progress_is_not_sent(join):
    """Two reports in one room: while one has three updates, the unchanged other has one."""
    ada, bob = join("ada"), join("bob")
    seen = updates(bob)
    with ada.report("still") as still, ada.report("moving") as moving:
        still.update(0.5)
        for step in range(1, 4):
            moving.update(step / 10)
            eventually(lambda step=step: any(f"moving\n{step}0 %" in m.text for m in bob.messages))
        first, second = (message.seq for message in bob.messages)
        targets = eventually(lambda: (found := [target for _, target in seen]).count(second) >= 3 and found)
    assert targets.count(first) == 1


# ---- stop ----


def test_a_stop_ends_the_loop_by_an_exception(join):
    ada, bob = join("ada"), join("bob")
    done = []
    with pytest.raises(TrackStopped, match=r"'bob' stopped 'epoch 3' after [0-9,]+ of 1,000,000,000 items") as raised:
        for item in ada.track(range(10**9), "epoch 3", stop=True):
            done.append(item)
            if bob.messages and not done[:-1].count(-1):
                bob.stop(bob.messages[0])
                done.append(-1)
            Event().wait(0.001)
    assert raised.value.user == "bob"
    wait_for_end(bob, "■ epoch 3: ", "stopped by bob")
    assert (bob.messages[0].end, bob.messages[0].stopped_by) == ("stopped", "bob")


def test_without_stop_the_message_shows_who_asked(join):
    ada, bob = join("ada"), join("bob")
    for item in ada.track(itertools.count(), "epoch 3"):
        if item == 0:
            eventually(lambda: bob.messages)
            assert not bob.messages[0].stoppable  # windows offer no button
            bob.stop(bob.messages[0])
        if last(bob).endswith(" · bob asked to stop"):
            break
    wait_for_end(bob, "■ epoch 3")


def test_a_report_tells_that_it_is_stopped(join):
    ada, bob = join("ada"), join("bob")
    with ada.report("training") as report:
        assert not report.stopped
        eventually(lambda: bob.messages)
        assert bob.messages[0].stoppable
        bob.stop(bob.messages[0])
        eventually(lambda: report.stopped)
    wait_for_end(bob, "■ training: stopped by bob after ")
    assert (bob.messages[0].end, bob.messages[0].stopped_by) == ("stopped", "bob")


def test_a_stopped_loop_stops_the_report_around_it(join):
    ada, bob = join("ada"), join("bob")
    with pytest.raises(TrackStopped), ada.report("all") as report:
        for _ in ada.track(itertools.count(), "one", stop=True):
            if len(bob.messages) == 2:
                bob.stop(bob.messages[1])
            Event().wait(0.001)
    eventually(lambda: [message.end for message in bob.messages] == ["stopped", "stopped"])
    assert bob.messages[0].text.startswith("■ all: TrackStopped: 'bob' stopped 'one'")
    assert not report.stopped


# ---- losses ----


def test_another_message_goes_on_where_the_server_has_ended_the_first(unused_port, tmp_path):
    """As after a laptop's sleep: the server took this member for gone."""
    from bqserver.testing import running_server

    settings = {"open": True, "port": unused_port, "log": f"sqlite:{tmp_path / 'log.sqlite'}"}
    with Room("lobby", user="ada", url=f"http://127.0.0.1:{unused_port}") as ada:
        with running_server(**settings) as server:
            ada.wait_open(20)
            report, short = ada.report("training"), ada.report("short")
            report.__enter__()
            with short:
                eventually(lambda: len(ada.messages) == 2)
                server.stop()
        with (
            # The heartbeat is only for the end of a member that is gone: a busy machine answers no ping in 0.3 s.
            running_server(**{**settings, "port": 0, "heartbeat": 0.3}) as elsewhere,
            Room("lobby", user="bob", url=elsewhere.url) as bob,
        ):
            eventually(lambda: [message.end for message in bob.messages] == ["lost", "lost"])
        report.update(0.5)
        with running_server(**settings) as server, Room("lobby", user="bob", url=server.url) as bob:

            def again(text):
                """The one of the two that go on, in any order, whose text begins so."""
                return next((message for message in bob.messages[2:] if message.text.startswith(text)), None)

            eventually(lambda: (short := again("✓ short: done in ")) and short.end == "done")
            running = eventually(lambda: again("training\n50 %"))
            report.__exit__(None, None, None)
            ended = eventually(lambda: (found := again("✓ training: done in ")) and found.end == "done" and found)
            assert (len(bob.messages), ended.seq) == (4, running.seq)
            ada.close()


def test_a_deleted_message_stays_deleted(join):
    ada, bob = join("ada"), join("bob")
    with ada.report("training") as report:
        eventually(lambda: bob.messages)
        ada.delete(bob.messages[0].seq)
        eventually(lambda: report._message._draft.is_over)
        report.update(0.5)
    ada.send("after")
    assert [message.deleted for message in ada.messages] == [True, False]


SLOW_TRACEBACKS = """
import time
shell = get_ipython()
show = shell.InteractiveTB.structured_traceback
shell.InteractiveTB.structured_traceback = lambda *args, **options: (time.sleep(1.5), show(*args, **options))[1]
"""
SLOW_END = """
import time
from bqwidget._room import progress
class Event(progress.Event):
    def set(self):
        super().set()
        time.sleep(1.5)
progress.Event = Event
"""
FAILING_CELL = """
from bqwidget import Room
room = Room('lobby', user='ada').wait_open()
for number in room.track(range(10), 'epoch 3'):
    if number == 4:
        raise ValueError('boom')
"""
CAUGHT = """
try:
    for number in room.track(range(10), 'caught'):
        if number == 4:
            raise ValueError('boom')
except ValueError:
    pass
while len(room.messages) < 2 or not room.messages[-1].end:
    time.sleep(0.01)
print(room.messages[-1].text)
"""


@pytest.mark.parametrize("before", ["", SLOW_TRACEBACKS, SLOW_END], ids=["quick", "slow traceback", "slow end"])
def test_a_notebook_names_the_exception_that_ended_a_loop(home_environ, kernel, before):
    with (
        running_server(open=True) as server,
        Room("lobby", user="bob", url=server.url) as bob,
        kernel({**home_environ, "BQWIDGET_URL": server.url}) as notebook,
    ):
        bob.wait_open(20)
        cell = notebook.begin(before + FAILING_CELL)
        notebook.until(lambda: cell.is_done, "the end of the cell")
        assert cell.errors == ["ValueError"]
        wait_for_end(bob, "✗ epoch 3: 40 % · 4/10 in ", "ValueError: boom")
        assert (bob.messages[0].end, bob.messages[0].edited) == ("failed", None)
        notebook.run(f"import time{CAUGHT}").shows("✗ caught: 40 % · 4/10 in ").shows("ended by an exception")


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
    with running_server(open=True, heartbeat=3) as server:
        monkeypatch.setenv("BQWIDGET_URL", server.url)
        with Room("lobby", user="run") as watching:
            process = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, text=True)
            try:
                process.stdin.write("\n" * 100)  # the first loop ends
                process.stdin.flush()
                eventually(lambda: "later" in last(watching), 30, "the second loop")
                eventually(lambda: watching.messages[1].end, what="the end of the first loop")
                eventually(lambda: "loss 0.21" in watching.messages[0].text, what="an update, at most twice a second")
            finally:
                process.kill()
                process.wait()
                process.stdin.close()
            eventually(lambda: not any(m.live for m in watching.messages), 30, "the end of all progress")
            assert [message.end for message in watching.messages] == ["lost", "done", "lost"]
            job, epoch, later = (message.text for message in watching.messages)
            assert job.startswith("job\n40 % · loss 0.21")
            assert epoch.startswith("✓ epoch 3: 100 % · 100/100 in ")
            assert later.startswith("later\n0 % · 0/1")


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
    settings = {"open": True, "heartbeat": 3, "port": unused_port, "log": f"sqlite:{tmp_path / 'log.sqlite'}"}
    monkeypatch.setenv("BQWIDGET_URL", f"http://127.0.0.1:{unused_port}")
    with Room("lobby", user="bob") as watching:
        with running_server(**settings):
            process = subprocess.Popen([sys.executable, "-c", ASKING])
            eventually(lambda: last(watching) == "Continue?", 30, "the question")
            eventually(lambda: "loss 0.21" in watching.messages[0].text, 30, "the progress")
        with running_server(**settings):
            try:
                eventually(lambda: "run" in {member.user for member in watching.members}, 30, "the return of the other")
                assert watching.messages[0].live
                assert watching.messages[1].expired is None
            finally:
                process.kill()
                process.wait()
            eventually(lambda: watching.messages[1].expired, 30, "the end of the question")
            eventually(lambda: watching.messages[0].end == "lost", 30, "the end of the progress")
            assert watching.messages[0].text.startswith("job\n40 % · loss 0.21")
            assert len(watching.messages) == 2
