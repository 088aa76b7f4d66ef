"""A cell as a message: its source, its output, and the way back to it. In a real kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest
from support.kernels import Kernel
from support.pictures import png

from bqwidget import BqwidgetError, Message, Room
from bqwidget.protocol import TABLE, CellAnchor, Table


@pytest.fixture
def bob(join: Callable[..., Room]) -> Room:
    return join("bob")


@pytest.fixture
def notebook(shared_kernel: Kernel, bob: Room) -> Iterator[Kernel]:
    """The kernel of lab/runs/loss.ipynb, where Jupyter shows the folder lab; its ``room`` is bob's."""
    shared_kernel.run(f"""
        import os, sys
        os.environ["BQWIDGET_NOTEBOOK_FOLDER"] = "/lab"
        os.environ["JPY_SESSION_NAME"] = "/lab/runs/loss.ipynb"
        %matplotlib inline
        import matplotlib.pyplot as plt
        import pandas as pd
        from IPython.display import Image, display
        square = Image({png(30, 20)!r})
        from bqwidget import Room
        room = Room({bob.name!r}, user="ada").wait_open(20)
    """)
    yield shared_kernel
    shared_kernel.run("room.close()")


def heard(bob: Room) -> Message:
    """ada's last message, once bob has it."""
    return bob.wait_for(lambda message: message.user == "ada", timeout=20, after=0)


def test_the_running_cell_is_sent_with_its_output_so_far(notebook: Kernel, bob: Room) -> None:
    notebook.run("display(square)\nprint('of another cell')", cell_id="before")
    code = "print('step 1')\ndisplay(square)\nplt.plot([1, 2])\nroom.send('look', cell=True)\nprint('later')"
    notebook.run(code, cell_id="c-1")
    message = heard(bob)
    assert message.cell == CellAnchor(path="runs/loss.ipynb", id="c-1")
    assert message.text == f"look\n\n```python\n{code}\n```\n\n```\nstep 1\n```"
    assert [part.mime for part in message.parts] == ["image/png", "image/png"]
    assert (30, 20) in [(part.width, part.height) for part in message.parts]


def test_a_figure_is_attached_once(notebook: Kernel, bob: Room) -> None:
    notebook.run("figure = plt.figure()\nroom.send(figure, 'the loss', cell=True)", cell_id="c-1")
    message = heard(bob)
    assert message.text.startswith("the loss\n\n```python\nfigure =")
    assert len(message.parts) == 1


def test_share_sends_the_whole_cell_when_it_has_ended(notebook: Kernel, bob: Room) -> None:
    body = "print('rows')\nplt.plot([1, 2])\npd.DataFrame({'a': [1, 2], 'b': [3, 4]})"
    shared = notebook.run(f"%%share {bob.name} look at this\n{body}", cell_id="c-2")
    assert "rows" in shared.text
    assert "a  b" in shared.text  # as in any other cell
    message = heard(bob)
    assert message.cell == CellAnchor(path="runs/loss.ipynb", id="c-2")
    assert message.text.startswith(f"look at this\n\n```python\n{body}\n```\n\n```\nrows\n")
    picture, table = message.parts
    assert picture.mime == "image/png"
    assert table.mime == TABLE
    shown = msgspec.json.decode(bob.part(table), type=Table)
    assert shown.columns[-2:] == ("a", "b")
    assert shown.total_rows == 2


def test_share_sends_a_cell_that_fails(notebook: Kernel, bob: Room) -> None:
    failed = notebook.begin(f"%%share {bob.name}\nprint('trying')\n1 / 0", cell_id="c-3")
    notebook.until(lambda: failed.is_done, "the end of the cell")
    assert failed.errors == ["ZeroDivisionError"]
    message = heard(bob)
    assert message.text.startswith("```python\nprint('trying')\n1 / 0\n```\n\n```\ntrying\n")
    assert "ZeroDivisionError: division by zero" in message.text
    assert "\x1b" not in message.text


def test_source_with_fences_stays_one_block(notebook: Kernel, bob: Room) -> None:
    notebook.run(f"%%share {bob.name}\ntext = '''\n```\n'''", cell_id="c-4")
    assert heard(bob).text == "````python\ntext = '''\n```\n'''\n````"


def test_a_notebook_elsewhere_is_named_without_its_folder(notebook: Kernel, bob: Room) -> None:
    notebook.run("os.environ['JPY_SESSION_NAME'] = '/private/plans.ipynb'\nroom.send('hi', cell=True)", cell_id="c-5")
    assert heard(bob).cell == CellAnchor(path="plans.ipynb", id="c-5")


def test_a_frontend_without_cell_ids_sends_no_place(notebook: Kernel, bob: Room) -> None:
    notebook.run("room.send('hi', cell=True)")
    message = heard(bob)
    assert message.cell is None
    assert "room.send" in message.text


def test_a_deleted_message_no_longer_names_its_cell(notebook: Kernel, bob: Room) -> None:
    seq = notebook.run("sent = room.send('hi', cell=True)\nroom.delete(sent)\nprint(sent.seq)", cell_id="c-6").text
    found = bob.get(int(seq))
    assert found.deleted
    assert found.cell is None


@pytest.mark.parametrize(
    ("line", "error"), [("%%share no/room\n1", "is not a room name"), ("room.send('x', cell='yes')", "True or False")]
)
def test_wrong_arguments_are_refused(notebook: Kernel, line: str, error: str) -> None:
    failed = notebook.begin(line, cell_id="c-7")
    notebook.until(lambda: failed.is_done, "the end of the cell")
    assert error in failed.text


def test_outside_a_notebook_there_is_no_cell(join: Callable[..., Room]) -> None:
    with pytest.raises(BqwidgetError, match="none runs here"):
        join("ada").send("look", cell=True)
