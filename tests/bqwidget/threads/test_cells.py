"""What a cell has registered, and what its next run does with it: in a real kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.kernels import Kernel

from bqwidget import Room
from bqwidget._room.callbacks.loop_guard import MAX_ROUNDS

REGISTER = {
    "on_message, a lambda": "room.on_message(lambda message: note('A'))",
    "on_message, a function": "@room.on_message\ndef reply(message): note('A')",
    "on_message, a partial": "import functools\nroom.on_message(functools.partial(lambda word, message: note(word), 'A'))",
    "on_message, a method": "class Bot:\n    def reply(self, message): note('A')\nroom.on_message(Bot().reply)",
    "on_message, in the background": "@room.on_message(background=True)\ndef reply(message): note('A')",
    "on_message, an async function": "@room.on_message\nasync def reply(message): note('A')",
    "observe, a lambda": "room.observe(lambda change: note('A'), 'messages')",
    "observe, a function": "def seen(change): note('A')\nroom.observe(seen, 'messages')",
    "observe of a widget": "room.widget.observe(lambda change: note('A'), 'messages')",
    "observe of a list of traits": "room.observe(lambda change: note('A'), ['messages', 'queued'])",
    "on_message, a generator": "@room.on_message\ndef reply(message):\n    note('A')\n    yield ''",
    "on_mention": "@room.on_mention\ndef mentioned(message): note('A')",
    "a link": """
from traitlets import HasTraits, Unicode, dlink
class Target(HasTraits):
    text = Unicode()
dlink((room, 'messages'), (Target(), 'text'), lambda messages: note('A') or '')
words.clear()
""",
}


@pytest.fixture
def bob(join: Callable[..., Room]) -> Room:
    return join("bob")


@pytest.fixture
def notebook(shared_kernel: Kernel, bob: Room) -> Iterator[Kernel]:
    """A kernel whose ``room`` is bob's, with ``note(word)``, which collects words in ``words``."""
    shared_kernel.run(f"""
        from bqwidget import Room
        room = Room({bob.name!r}, user="ada").wait_open(20)
        words = []
        def note(word):
            words.append(word)
    """)
    yield shared_kernel
    shared_kernel.run("room.close()")


def words_after(notebook: Kernel, bob: Room, text: str = "hi", count: int = 1) -> str:
    """The words noted for one message: at least ``count``, and what comes in the next moment."""
    notebook.run("words.clear()")
    bob.send(text)
    notebook.run(f"""
        def all_called():
            from bqwidget.dispatch import wait
            import asyncio, time
            until = time.monotonic() + 30
            while len(words) < {count} and time.monotonic() < until:
                wait(asyncio.sleep(0.01))  # callbacks run meanwhile
            wait(asyncio.sleep(0.1))
        all_called()
    """)
    return notebook.run("print(sorted(words))").text.strip()


@pytest.mark.parametrize("code", REGISTER.values(), ids=list(REGISTER))
def test_a_new_run_replaces_what_the_cell_registered(notebook: Kernel, bob: Room, code: str) -> None:
    for _ in range(3):
        notebook.run(code, cell_id="registers")
    assert words_after(notebook, bob, "hi, @ada") == "['A']"


def test_a_new_run_replaces_several_registrations_of_any_verb(notebook: Kernel, bob: Room) -> None:
    notebook.run("\n".join([*REGISTER.values(), "@room.live\ndef table(messages): note('live')"]), cell_id="registers")
    changed = "room.on_message(lambda message: note('B'))\nroom.on_message(lambda message: note('C'))"
    notebook.run(changed, cell_id="registers")
    assert words_after(notebook, bob, count=2) == "['B', 'C']"
    notebook.run("pass", cell_id="registers")
    notebook.run("room.observe(lambda change: note('other'), 'messages')", cell_id="other")
    assert words_after(notebook, bob) == "['other']"


def test_a_run_with_an_error_leaves_what_the_cell_registered(notebook: Kernel, bob: Room) -> None:
    notebook.run("room.on_message(lambda message: note('A'))", cell_id="registers")
    failed = notebook.begin("room.on_mesage(lambda message: note('B'))", cell_id="registers")
    notebook.until(lambda: failed.is_done, "the end")
    assert failed.errors == ["AttributeError"]
    assert words_after(notebook, bob) == "['A']"


def test_a_frontend_without_cell_ids_has_one_cell_for_each_text(notebook: Kernel, bob: Room) -> None:
    for _ in range(2):
        notebook.run("room.observe(lambda change: note('A'), 'messages')")
        notebook.run("room.observe(lambda change: note('B'), 'messages')")
    assert words_after(notebook, bob, count=2) == "['A', 'B']"


FACTORY = """
def make(word):
    def handler(*_):
        note(word)
    return handler
"""


@pytest.mark.parametrize("verb", ["on_message", "on_reconnect"])
def test_handlers_of_one_factory_do_not_replace_each_other(notebook: Kernel, bob: Room, verb: str) -> None:
    notebook.run(f"{FACTORY}\nroom.{verb}(make('A'))\nroom.{verb}(make('B'))", cell_id="one")
    notebook.run(f"room.{verb}(make('C'))\nroom.{verb}(lambda *_: note('D'))", cell_id="two")
    notebook.run(f"room.{verb}(lambda *_: note('E'))", cell_id="three")
    if verb == "on_message":
        assert words_after(notebook, bob, count=5) == "['A', 'B', 'C', 'D', 'E']"
    else:
        assert notebook.run("print(len(room._reconnect_handlers))").text.strip() == "5"


@pytest.mark.parametrize("verb", ["on_message", "on_reconnect"])
def test_another_cell_replaces_a_function_of_the_same_name_with_a_note(notebook: Kernel, bob: Room, verb: str) -> None:
    notebook.run(f"@room.{verb}\ndef reply(*_): note('A')", cell_id="one")
    second = notebook.run(f"@room.{verb}\ndef reply(*_): note('B')", cell_id="two")
    assert second.text == f"bqwidget: reply replaces the reply that another cell registered by {verb}\n"
    assert notebook.run(f"@room.{verb}\ndef reply(*_): note('B')", cell_id="two").text == ""
    if verb == "on_message":
        assert words_after(notebook, bob) == "['B']"


def test_two_functions_of_one_name_in_one_cell_are_two_handlers(notebook: Kernel, bob: Room) -> None:
    code = "@room.on_message\ndef _(message): note('A')\n@room.on_message\ndef _(message): note('B')"
    for _ in range(2):
        notebook.run(code, cell_id="one")
    assert words_after(notebook, bob, count=2) == "['A', 'B']"


def test_the_new_run_gets_the_messages_that_the_previous_one_was_not_called_with(notebook: Kernel, bob: Room) -> None:
    code = "room.on_message(lambda message: note(message.text))"
    notebook.run(code, cell_id="registers")
    busy = "import time\nwhile 'hi' not in [message.text for message in room.messages]: time.sleep(.01)\n"
    running = notebook.begin(busy + code, cell_id="registers")
    bob.send("hi")
    notebook.until(lambda: running.is_done, "the end")
    notebook.until(lambda: notebook.run("print(words)").text == "['hi']\n", "the message")


def test_a_bot_made_in_a_function_lives_until_it_is_closed(notebook: Kernel, bob: Room) -> None:
    notebook.run(
        """
        import gc, weakref
        def start(verb):
            bot = Room(room.name, user=f"bot-{verb}").wait_open(20)
            {
                "on_message": lambda: bot.on_message(lambda message: note("on_message")),
                "observe": lambda: bot.observe(lambda change: note("observe"), "messages"),
                "live": lambda: bot.live(lambda messages: note("live")),
                "shown": lambda: display(bot),
                "unused": lambda: None,
            }[verb]()
            return weakref.ref(bot)
        bots = {verb: start(verb) for verb in ("on_message", "observe", "live", "shown", "unused")}
        gc.collect()
    """,
        cell_id="bots",
    )
    assert words_after(notebook, bob, count=3) == "['live', 'observe', 'on_message']"
    living = "gc.collect()\nprint([verb for verb in bots if bots[verb]() is not None])"
    assert notebook.run(living).text == "['on_message', 'observe', 'live', 'shown']\n"
    notebook.run("for reference in bots.values():\n    if (bot := reference()) is not None: bot.close()\nbot = None")
    notebook.until(lambda: notebook.run(living).text == "['shown']\n", "the end")


COPIED = """
bot = Room(room.name, user="bot").wait_open(20)
@bot.on_message
def answer(message):
    note(message.text)
bot.on_message(lambda message: note("lambda"))
"""


def test_a_copied_cell_answers_once(notebook: Kernel, bob: Room) -> None:
    notebook.run(f"{COPIED}\nfirst = bot", cell_id="one")
    copy = notebook.run(COPIED, cell_id="two")
    assert copy.text.count("bqwidget: this Room('") == 1
    assert words_after(notebook, bob, count=2) == "['hi', 'lambda']"
    notebook.run("Room(room.name, user='bot').send('a new Room without handlers')", cell_id="three")
    assert words_after(notebook, bob, count=2) == "['hi', 'lambda']"
    separate = notebook.run(COPIED.replace('"bot"', '"bot", separate=True'), cell_id="four")
    assert "bqwidget" not in separate.text
    assert words_after(notebook, bob, count=4) == "['hi', 'hi', 'lambda', 'lambda']"
    notebook.run("first.close()\nbot.close()", cell_id="five")


def test_a_new_run_closes_the_rooms_of_the_previous_one(notebook: Kernel, bob: Room) -> None:
    code = "made = globals().get('made', []) + [Room(f'{room.name}-NAME', user='bot').wait_open(20)]"
    for name in ("a", "b"):
        notebook.run(code.replace("NAME", name), cell_id="makes")
    assert notebook.run("print([made.status for made in made])").text == "['closed', 'open']\n"


def test_people_who_run_a_cell_for_each_message_are_no_bots(notebook: Kernel, bob: Room) -> None:
    """Code that waits and sends in one cell may be a bot; a person runs the next cell."""
    notebook.run("from bqwidget._room.callbacks import loop_guard\nloop_guard.MAX_ROUNDS = 3")
    for number in range(5):
        after = bob.send(f"question {number}").seq - 1
        notebook.run(f"room.wait_for(timeout=20, after={after})", cell_id="waits")
        notebook.run("room.send('answer')", cell_id="answers")
    bob.send("begin")
    cell = notebook.begin("""
        after = 0
        while True:
            after = room.wait_for(lambda message: message.user == "bob", timeout=20, after=after)
            room.send("answer")
    """)
    cell.shows("only programs have answered each other")
    notebook.run(f"loop_guard.MAX_ROUNDS = {MAX_ROUNDS}")
