"""XSS: a thousand payloads that are written live, in pieces that are cut anywhere, with their steps and activities.

In each room, fifty messages grow by a piece each in every round, so that the page draws what a payload is when it is cut
there. The monitor must report nothing, neither then, nor at the end, nor after a reload.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import running_server
from support.dom_monitor import DomMonitor
from support.ws_client import Member, append, member
from support.xss_payloads import payloads

from bqwidget.protocol import MAX_ACTIVITY, MAX_STEP_TITLE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PAYLOADS = payloads()
MESSAGES, ROUNDS, CARDS = 50, 5, 5
"""Messages of a room, pieces of each, and of how many messages one is a progress card."""
TALL = {"width": 1280, "height": 30_000}
FORMS = ("{}", "```html\n{}\n```", "| a |\n|---|\n| {} |", "> - {}", "[{}]({})")
"""A payload as plain text, in code, a table, a quoted list, and a link."""
OPEN_STEPS = "document.querySelectorAll('.bq-steps [aria-expanded=false]').forEach((button) => button.click())"
STEPS = """
() => [...document.querySelectorAll(".bq-chat li[data-seq]")].map((item) => ({
  title: item.querySelector(".bq-step > :is(span, button)[dir], .bq-step .bq-toggle span")?.textContent,
  text: item.querySelector(".bq-step-text")?.textContent,
  card: item.querySelector(".bq-progress-title b")?.textContent ?? null,
}))
"""


@pytest.fixture(scope="module")
def server() -> Iterator:
    with running_server(open=True) as running:
        yield running


def is_card(number: int) -> bool:
    return number % CARDS == 0


def written(number: int, payload: str) -> str:
    form = "{}" if is_card(number) else FORMS[number % len(FORMS)]
    return form.replace("{}", payload)


def begin(bot: Member, number: int) -> int:
    progress = {"progress": {"fraction": 0.5, "left_ms": 1_000}} if is_card(number) else {}
    bot.say("", cid=f"m{number}", user="bot", live=True, **progress)
    return bot.until("ack")["seq"]


def set_step(bot: Member, seq: int, payload: str, number: int, state: str = "running") -> None:
    step = {"cid": f"s{seq}-{number}", "target": seq, "id": "1", "title": payload[:MAX_STEP_TITLE], "state": state}
    bot.send({"type": "chat.step", **step, "text": payload})
    bot.until("ack")


def cuts(text: str, chance: random.Random) -> list[int]:
    return [0, *sorted(chance.randint(0, len(text)) for _ in range(ROUNDS - 1)), len(text)]


def check_steps(page: Page, room: list[str]) -> None:
    page.evaluate(OPEN_STEPS)  # first the lists
    page.evaluate(OPEN_STEPS)  # and then the steps in them
    page.wait_for_function(f"document.querySelectorAll('.bq-step-text').length === {len(room)}")
    shown = page.evaluate(STEPS)
    assert [row["title"] for row in shown] == [payload[:MAX_STEP_TITLE] for payload in room]
    assert [row["text"] for row in shown] == room
    assert [number for number, row in enumerate(shown) if row["card"] is not None] == [
        number for number in range(len(room)) if is_card(number)
    ]


def test_payloads_that_are_written_live_stay_text(server, pages):
    page, chance = pages(), random.Random(18)
    page.set_viewport_size(TALL)
    monitor = DomMonitor(page, server.url)
    for start in range(0, len(PAYLOADS), MESSAGES):
        room, name = PAYLOADS[start : start + MESSAGES], f"live-{start}"
        page.goto(f"{server.url}/rooms/{name}")
        page.get_by_role("status").filter(has_text="Connected").wait_for()
        with member(server.url, name, query="?user=bot&client=bot&kind=agent&live=1") as bot:
            bot.until("synced")
            seqs = [begin(bot, number) for number in range(len(room))]
            texts = [written(number, payload) for number, payload in enumerate(room)]
            pieces = [cuts(text, chance) for text in texts]
            for round_ in range(ROUNDS):
                for seq, text, at in zip(seqs, texts, pieces, strict=True):
                    append(bot, seq, at[round_], text[at[round_] : at[round_ + 1]])
                for seq, payload in zip(seqs, room, strict=True):
                    set_step(bot, seq, payload, round_)
                activity = room[round_ * len(room) // ROUNDS][:MAX_ACTIVITY].strip()
                shown = page.locator(".bq-typing").filter(has_text=activity)
                while not shown.count():
                    bot.send({"type": "chat.typing", "text": activity})  # a busy machine draws it later than in 5 s
                    page.wait_for_timeout(500)
                assert monitor.report() == [], f"while it is written, {name}"
            check_steps(page, room)
            for number, seq in enumerate(seqs):
                end = {"cid": f"e{number}", "target": seq, "end": "done" if number % 2 else "failed"}
                bot.send({"type": "chat.end", **end})
                bot.until("ack")
        page.locator(".bq-live", has_text="writing").first.wait_for(state="detached")
        assert monitor.report() == [], f"at its end, {name}"
        page.reload()
        page.locator(f".bq-chat li[data-seq='{seqs[-1]}']").wait_for()
        check_steps(page, room)
        assert monitor.report() == [], f"after a reload, {name}"
