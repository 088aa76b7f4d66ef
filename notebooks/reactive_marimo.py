"""A room in a marimo notebook: `marimo edit notebooks/reactive_marimo.py`."""

import marimo

app = marimo.App()


@app.cell
def _(mo):
    mo.md("""
    # A chat room in a marimo notebook

    marimo runs a cell again when a value that the cell uses changes. In this notebook you

    - show a room's window,
    - make the room's messages such a value,
    - see a table and a sentence that follow the conversation.

    You need marimo (`pip install marimo`) and about five minutes.
    `quickstart.ipynb` explains rooms.
    """)
    return


@app.cell
def _():
    import marimo as mo

    from bqwidget import Room

    return Room, mo


@app.cell
def _(mo):
    mo.md("""
    ## Open a room

    The room has a fixed name, so it contains the messages of earlier runs, and everyone who opens this
    notebook with `marimo run` is in the same room. `mo.state` holds the messages. The observer sets this
    state whenever messages arrive, and then marimo runs all cells that call `get_messages`.
    """)
    return


@app.cell
def _(Room, mo):
    room = Room("lobby", user="ada")
    get_messages, set_messages = mo.state(room.messages)
    room.observe(lambda change: set_messages(change.new), "messages")
    return get_messages, room


@app.cell
def _(mo):
    mo.md("""
    ## Show its window

    **Your turn:** write something in the window, and look at the cells below it.
    """)
    return


@app.cell
def _(mo, room):
    mo.ui.anywidget(room.widget)
    return


@app.cell
def _(mo):
    mo.md("""
    ## Follow the conversation

    The next two cells run again with each new message. The text of a message comes from other people:
    `mo.plain_text` shows it as it is, whereas `mo.md` would interpret HTML in it.
    """)
    return


@app.cell
def _(get_messages, mo):
    newest = get_messages()[-1].text if get_messages() else "none yet"
    mo.hstack(["Newest message:", mo.plain_text(newest)], justify="start", align="center")
    return


@app.cell
def _(get_messages, mo):
    counts = {}
    for message in get_messages():
        counts[message.user] = counts.get(message.user, 0) + 1
    mo.ui.table([{"user": user, "messages": count} for user, count in counts.items()], selection=None)
    return


@app.cell
def _(mo):
    mo.md("""
    ## What next

    - Open the same room in another notebook with `Room("lobby")`: both windows show the same messages.
    - `Room` works here as it does in Jupyter: `react.ipynb` is about handlers, `ask.ipynb` about questions
      with buttons.
    """)
    return


if __name__ == "__main__":
    app.run()
