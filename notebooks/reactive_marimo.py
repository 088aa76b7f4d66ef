"""A room in a marimo notebook: `marimo edit notebooks/reactive_marimo.py`."""

import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    from bqwidget import Room

    return Room, mo


@app.cell
def _(mo):
    mo.md("""
    # A room in marimo

    A marimo notebook re-runs the cells that depend on what has changed. `mo.state` makes the room's messages
    such a thing: an observer sets the state, and every cell that reads it runs again with each new message.
    """)
    return


@app.cell
def _(Room, mo):
    room = Room("lobby", user="ada")
    get_messages, set_messages = mo.state(room.messages)
    room.observe(lambda change: set_messages(change.new), "messages")
    return get_messages, room


@app.cell
def _(mo, room):
    mo.ui.anywidget(room.widget)
    return


@app.cell
def _(get_messages, mo):
    counts = {}
    for message in get_messages():
        counts[message.user] = counts.get(message.user, 0) + 1
    mo.ui.table([{"user": user, "messages": count} for user, count in counts.items()], selection=None)
    return


@app.cell
def _(get_messages, mo):
    mo.md(f"""
    Last said: **{get_messages()[-1].text if get_messages() else "nothing yet"}**
    """)
    return


if __name__ == "__main__":
    app.run()
