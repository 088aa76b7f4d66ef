"""The live traits of a Room and of its window, in a real kernel: observed, linked, and as controls of ipywidgets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from bqserver.testing import RunningServer
from support.kernels import Kernel
from support.paths import PYTHONPATH

from bqwidget import Room

OBJECTS = ("room", "widget")
each_object = pytest.mark.parametrize("this", OBJECTS)


@pytest.fixture(scope="module")
def started(
    kernel: Callable[[dict[str, str]], AbstractContextManager[Kernel]],
    room_server: RunningServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kernel]:
    home = str(tmp_path_factory.mktemp("home"))
    environ = {**os.environ, "HOME": home, "IPYTHONDIR": home, "PYTHONPATH": PYTHONPATH}
    with kernel({**environ, "BQWIDGET_URL": room_server.url, "BQWIDGET_TOKEN": room_server.token}) as running:
        yield running


@pytest.fixture
def bob(join: Callable[..., Room]) -> Room:
    return join("bob")


@pytest.fixture
def notebook(started: Kernel, bob: Room) -> Iterator[Kernel]:
    """A kernel whose ``room`` is bob's, which has one message, and ``widget`` a window of it."""
    first = bob.send("first")
    started.run(f"""
import json
import ipywidgets, traitlets
from bqwidget import ChatWidget, Room
room = Room({bob.name!r}, user="ada").wait_open(20)
widget = ChatWidget(room)
def texts(messages):
    return [message.text for message in messages]
class Plot(traitlets.HasTraits):
    value = traitlets.List()
plot = Plot()
assert texts(room.messages)[-1] == {first.text!r}
""")
    yield started
    started.run("room.close(); widget.close()")


@each_object
def test_a_trait_is_observed_and_says_whose_it_is(notebook: Kernel, bob: Room, this: str) -> None:
    cell = notebook.run(f"{this}.observe(lambda change: print(change.owner is {this}, texts(change.new)), 'messages')")
    bob.send("second")
    cell.shows("True ['first', 'second']")
    members = notebook.run(f"{this}.observe(lambda change: print(len(change.new), 'here'), 'members')")
    bob.close()
    members.shows("1 here")
    assert notebook.run(f"{this}.close(); room.close(); print({this}.status)").text == "closed\n"


@each_object
def test_an_observer_of_everything_is_told_of_a_message_once(notebook: Kernel, bob: Room, this: str) -> None:
    cell = notebook.run(
        f"{this}.observe(lambda change: change.name in ('messages', 'value') and print(change.name, len(change.new)))"
    )
    bob.send("second")
    cell.shows("messages 2")
    bob.send("third")
    cell.shows("messages 3")
    assert "value" not in cell.text


@each_object
def test_unobserve_ends_it_and_a_wrong_name_proposes_a_right_one(notebook: Kernel, bob: Room, this: str) -> None:
    cell = notebook.run(f"""
def seen(change):
    print("seen", change.name)
{this}.observe(seen, ["messages", "status"])
{this}.unobserve(seen, ["messages", "status"])
{this}.observe(lambda change: print("done"), "messages")
for verb in ({this}.observe, {this}.unobserve):
    for names in ("mesages", ["messages", "user_count"]):
        try:
            verb(seen, names)
        except ValueError as error:
            print(verb.__name__, error)
""")
    bob.send("second")
    cell.shows("done")
    assert "seen" not in cell.text
    for verb in ("observe", "unobserve"):
        assert f"{verb} names has 'mesages', which is not a trait: did you mean 'messages'?" in cell.text
        assert f"{verb} names has 'user_count', which is not a trait: use error, " in cell.text


@each_object
@pytest.mark.parametrize("kind", ["link", "dlink"])
@pytest.mark.parametrize("module", ["traitlets", "ipywidgets"])
def test_messages_are_linked_to_a_trait(notebook: Kernel, bob: Room, this: str, kind: str, module: str) -> None:
    cell = notebook.run(f"""
linked = {module}.{kind}(({this}, 'messages'), (plot, 'value'))
print(texts(plot.value))
plot.observe(lambda change: print(texts(change.new)), 'value')
""")
    assert cell.text == "['first']\n"
    bob.send("second")
    cell.shows("['first', 'second']")
    notebook.run("linked.unlink()")
    observed = notebook.run(f"{this}.observe(lambda change: print(texts(plot.value)), 'messages')")
    bob.send("third")
    observed.shows("['first', 'second']")


@each_object
def test_a_link_holds_while_messages_stream_in(notebook: Kernel, bob: Room, this: str) -> None:
    """A link raises where its source has another value after it has set its target."""
    cell = notebook.run(f"""
linked = traitlets.link(({this}, "messages"), (plot, "value"))
def slow(change):
    newest = room.send(f"echo of {{len(change.new)}}", wait=False).result(20)  # arrives while the target is set
    room.wait_for(lambda message: message.seq == newest.seq, 20, after=0)
    print("set", len(change.new), flush=True)
    plot.unobserve(slow, "value")
    plot.observe(lambda change: print(texts(change.new)), "value")
plot.observe(slow, "value")
""")
    bob.send("second")
    cell.shows("set 2").shows("['first', 'second', 'echo of 2']")
    assert "Broken link" not in cell.text


@each_object
def test_messages_control_an_interactive_output(notebook: Kernel, bob: Room, this: str) -> None:
    cell = notebook.run(f"""
slider = ipywidgets.IntSlider(1)
calls = []
def show(number, messages):
    calls.append((number, texts(messages)))
out = ipywidgets.interactive_output(show, {{"number": slider, "messages": {this}}})
{this}.observe(lambda change: print(calls[-1]), "value")
slider.value = 2
print(calls)
""")
    assert cell.text == "[(1, ['first']), (2, ['first'])]\n"
    bob.send("second")
    cell.shows("(2, ['first', 'second'])")


@each_object
def test_a_slider_drives_messages(notebook: Kernel, bob: Room, this: str) -> None:
    notebook.run("""
slider = ipywidgets.IntSlider(1)
slider.observe(lambda change: room.send(f"rate {change.new}", wait=False), "value")
slider.value = 7
""")
    assert bob.wait_for(lambda message: message.text == "rate 7", 20, after=0).user == "ada"
    notebook.run(f"room.wait_for(lambda message: message.text == 'rate 7', 20, after=0); {this}.messages[-1].text")


@each_object
def test_a_live_trait_can_not_be_set_and_is_not_synced(notebook: Kernel, this: str) -> None:
    cell = notebook.run(f"""
for name in ("messages", "value", "status", "members"):
    try:
        setattr({this}, name, [])
    except traitlets.TraitError as error:
        print(error)
print(sorted(set(widget.keys) & set(room.trait_names())))
""")
    assert cell.text.count("is read-only: it shows the state of the room; room.send(text) adds a message") == 4
    assert cell.text.endswith("[]\n")
