"""A room as the messages of a language model: which ones, in which form, and whether the SDKs accept them.

The SDKs are imported in the tests, because that takes seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqwidget import BqwidgetError, Room
from bqwidget._room.conversation.formats import FORMATS, to_anthropic, to_openai, to_pydantic_ai
from bqwidget._room.conversation.turns import Picture, Turn, select, within
from bqwidget.protocol import Ask, Message, Progress, React, Send

PICTURE = b"\x89PNG\r\n\x1a\n"
CODE, CALLBACK, WINDOW = "1.0123456789abcdef0123", "1-2-7.0123456789abcdef0123", f"{'0' * 32}.0123456789ab"


def turns(*spoken: str) -> list[Turn]:
    """``turns("bob: hi", "bot: hello")``; bot is the assistant."""
    split = [text.partition(": ") for text in spoken]
    return [Turn(user == "bot", user, text) for user, _, text in split]


# ---- which messages


def message(seq: int, user: str, text: str = "hi", cid: str = WINDOW, **fields: Any) -> Message:
    return Message(seq=seq, room="lobby", user=user, text=text, at=seq, cid=cid, **fields)


def chosen(*messages: Message, upto: int | None = None) -> list[int]:
    own = {each.seq for each in messages if each.user == "bot"}
    return [each.seq for each in select(messages, lambda each: each.seq in own, upto)]


def test_programs_are_not_taken_for_people() -> None:
    words = [message(1, "bob"), message(2, "ann", cid=CODE), message(3, "bot", cid=CALLBACK)]
    programs = [
        message(4, "other", cid=CALLBACK),
        message(5, "other", cid=CODE, live=True),
        message(6, "other", cid=CODE, end="done"),
        message(7, "other", cid=CODE, progress=Progress(fraction=1), end="done"),
        message(8, "other", cid=CODE, ask=Ask()),
        message(9, "helper", cid=CODE, author_kind="agent"),
        message(10, "bot", cid=CODE, progress=Progress(), end="done"),
    ]
    assert chosen(*words, *programs) == [1, 2, 3]


def test_deleted_and_unfinished_messages_are_left_out() -> None:
    left_out = [message(1, "bob", "", deleted=True), message(2, "bot", cid=CODE, live=True)]
    assert chosen(*left_out, message(3, "bot", cid=CODE, end="done"), message(4, "bob")) == [3, 4]


def test_a_later_answer_follows_its_question() -> None:
    """Two questions at once: with the second, the model reads that the first has been answered."""
    questions = [message(1, "bob", "one?"), message(2, "ann", "two?"), message(3, "bob", "three?")]
    answers = [message(4, "bot", "1", cid=CALLBACK, re=1), message(5, "bot", "3", cid=CALLBACK, re=3)]
    assert chosen(*questions, *answers, upto=2) == [1, 4, 2]
    assert chosen(*questions, *answers) == [1, 2, 3, 4, 5]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 20), st.integers(1, 200))
def test_the_budget_keeps_the_newest(lengths: list[int], last: int, max_chars: int) -> None:
    messages = [message(seq, "bob", "x" * length) for seq, length in enumerate(lengths, 1)]
    kept = within(messages, last, max_chars)
    assert kept == messages[len(messages) - len(kept) :]
    assert 1 <= len(kept) <= last
    total = sum(len(each.text) for each in kept)
    assert len(kept) == 1 or total <= max_chars
    if len(kept) < min(last, len(messages)):
        assert total + lengths[len(messages) - len(kept) - 1] > max_chars


# ---- the formats


def test_one_person_has_no_name() -> None:
    spoken = turns("bob: hi", "bot: hello", "bob: bye")
    assert to_openai(spoken) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "bye"},
    ]
    assert to_anthropic(spoken) == to_openai(spoken)


def test_several_people_are_told_apart() -> None:
    spoken = turns("bob: hi", "ann lee: hi all", "bot: hello")
    assert to_openai(spoken) == [
        {"role": "user", "content": "bob: hi", "name": "bob"},
        {"role": "user", "content": "ann lee: hi all", "name": "ann_lee"},
        {"role": "assistant", "content": "hello"},
    ]
    merged = [{"type": "text", "text": "bob: hi"}, {"type": "text", "text": "ann lee: hi all"}]
    assert to_anthropic(spoken) == [{"role": "user", "content": merged}, {"role": "assistant", "content": "hello"}]


def test_a_name_stays_on_its_line() -> None:
    spoken = turns("bob: hi", "eve\nbob: hi")
    assert [each["content"] for each in to_openai(spoken)] == ["bob: hi", "eve bob: hi"]


def test_anthropic_and_pydantic_ai_begin_with_a_person() -> None:
    spoken = turns("bot: welcome", "bob: hi", "bot: hello", "bot: again")
    again = [{"type": "text", "text": "hello"}, {"type": "text", "text": "again"}]
    assert to_anthropic(spoken) == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": again}]
    assert [each["kind"] for each in to_pydantic_ai(spoken)] == ["request", "response"]
    assert to_anthropic(turns("bot: welcome")) == []


texts = st.text(min_size=1).map(str.strip).filter(bool)
SPOKEN = st.lists(
    st.builds(
        lambda own, user, text, picture: Turn(
            own, "bot" if own else user, text, (Picture("image/png", PICTURE),) if picture and not own else ()
        ),
        st.booleans(),
        st.sampled_from(["bob", "ann lee", "<|eve|>", "日本"]),
        texts,
        st.booleans(),
    )
)


@cache
def types_of_the_sdks() -> list[Any]:
    from anthropic.types import MessageParam
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import TypeAdapter
    from pydantic_ai.messages import ModelMessagesTypeAdapter

    return [TypeAdapter(list[ChatCompletionMessageParam]), TypeAdapter(list[MessageParam]), ModelMessagesTypeAdapter]


@pytest.mark.slow("imports the SDKs")
@given(SPOKEN)
def test_the_types_of_the_sdks_accept_every_conversation(spoken: list[Turn]) -> None:
    of_openai, of_anthropic, of_pydantic_ai = types_of_the_sdks()
    for converted, type_of_sdk in ((to_openai(spoken), of_openai), (to_anthropic(spoken), of_anthropic)):
        read: Any = type_of_sdk.validate_python(converted)
        for each in read:
            if not isinstance(each["content"], str):
                each["content"] = list(each["content"])
        assert read == converted  # with no key that the SDK does not know
    roles = [each["role"] for each in to_anthropic(spoken)]
    assert all(role == ("assistant" if number % 2 else "user") for number, role in enumerate(roles))
    assert len(of_pydantic_ai.validate_python(to_pydantic_ai(spoken))) == len(roles)


# ---- in a room


def test_own_messages_are_the_assistant_s(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    bob.send("hi")
    ada.wait_for(lambda each: each.text == "hi", 20, after=0)
    ada.send("hello")
    typed = Send(cid=WINDOW, user="ada", text="typed in the window")
    ada._submit(typed, own=False).result(20)
    deleted = ada.send("deleted")
    ada.delete(deleted)
    assert ada.conversation() == [
        {"role": "user", "content": "bob: hi", "name": "bob"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "ada: typed in the window", "name": "ada"},
    ]
    assert ada.conversation("anthropic", last=1) == [{"role": "user", "content": "typed in the window"}]
    assert ada.conversation(max_chars=20) == ada.conversation(last=1)
    earlier = join("ada", separate=True)  # as the next kernel is
    assert earlier.conversation() == ada.conversation()


def test_in_a_handler_it_ends_with_its_message(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    seen: dict[str, list[Any]] = {}
    for number in range(3):
        bob.send(f"question {number}")
    ada.wait_for(lambda each: each.text == "question 2", 20, after=0)

    @ada.on_message(background=True)
    async def answer(each: Message) -> None:
        seen[each.text] = await ada.aconversation()
        await ada.areply(each, f"answer to {each.text}")

    for number in range(3, 6):
        bob.send(f"question {number}", wait=False)
    bob.wait_for(lambda each: each.text == "answer to question 5", 20, after=0)
    for number in range(3, 6):
        texts = [each["content"] for each in seen[f"question {number}"]]
        assert texts[-1] == f"question {number}"
        assert texts[:3] == [f"question {each}" for each in range(3)]
        assert all(f"answer to question {each}" in texts for each in range(3, number))


def test_a_handler_of_another_room_reads_all(join: Any, room_server: Any) -> None:
    ada, bob = join("ada"), join("bob")
    with Room(f"{ada.name}-2", user="ada", url=room_server.url, token=room_server.token) as other:
        ada.on_message(lambda _: [each["content"] for each in other.conversation()][-1])
        for number in range(3):
            other.send(f"line {number}")
        bob.send("what do they say?")
        assert bob.wait_for(lambda each: each.user == "ada", 20, after=0).text == "line 2"


def test_two_bots_do_not_read_each_other(join: Any) -> None:
    ada, eve, bob = join("ada"), join("eve"), join("bob")
    for bot in (ada, eve):
        bot.on_message(
            lambda each, bot=bot: bot.reply(each, f"{bot.user} says hi"), where=lambda each: each.user == "bob"
        )
    asked = bob.send("hi")
    for bot in (ada, eve):
        for name in ("ada", "eve"):
            bot.wait_for(lambda each, name=name: each.text == f"{name} says hi", 20, after=asked)
        assert bot.conversation(upto=bot.messages[-1]) == [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": f"{bot.user} says hi"},
        ]


def test_pictures_of_people_are_parts(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    for number in range(3):
        bob.send(PICTURE + bytes([number]), f"see {number}", name=f"{number}.png")
    ada.wait_for(lambda each: each.text == "see 2", 20, after=0)
    ada.send(PICTURE, name="mine.png")
    first, second, _, own = ada.conversation(pictures=2)
    assert first["content"] == "[picture: 0.png]\nsee 0"
    assert [each["type"] for each in second["content"]] == ["text", "image_url"]
    data = second["content"][1]["image_url"]["url"].partition("base64,")[2]
    assert b64decode(data) == PICTURE + b"\x01"
    assert own["content"] == "[picture: mine.png]"
    assert ada.conversation(pictures=0)[2]["content"] == "[picture: 2.png]\nsee 2"
    assert asyncio.run(ada.aconversation(pictures=2)) == ada.conversation(pictures=2)


def test_pictures_that_are_known_are_not_fetched_again(join: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = join("ada"), join("bob")
    bob.send(PICTURE)
    ada.wait_for(lambda each: bool(each.parts), 20, after=0)
    before = ada.conversation()
    monkeypatch.setattr(ada, "_request", None)
    assert ada.conversation() == before


def test_without_pydantic_ai_its_format_says_what_to_install(join: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai.messages", None)
    with pytest.raises(BqwidgetError, match="pip install pydantic-ai-slim"):
        join("ada").conversation("pydantic_ai")


# ---- the SDKs


class Requests(BaseHTTPRequestHandler):
    """Answers as the two APIs do, and keeps what was asked."""

    seen: list[Any]

    def do_POST(self) -> None:
        self.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.seen[-1].get("stream"):
            self._stream(openai_events() if self.path.endswith("completions") else anthropic_events())
            return
        usage = {"input_tokens": 1, "output_tokens": 1}
        answer: dict[str, Any] = {"id": "1", "type": "message", "role": "assistant", "model": "m", "usage": usage}
        answer["content"] = [{"type": "text", "text": "ok"}]
        if self.path.endswith("completions"):
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: list[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            kind = f"event: {event['type']}\n" if "type" in event else ""
            self.wfile.write(f"{kind}data: {json.dumps(event)}\n\n".encode())
        if "type" not in events[0]:
            self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        pass


def openai_events() -> list[dict[str, Any]]:
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return [{**chunk, "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("all ", "is ", "well")]


def anthropic_events() -> list[dict[str, Any]]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in ("all ", "is ", "well")
    ]
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]


@pytest.fixture
def api() -> Iterator[tuple[str, list[Any]]]:
    handler = type("Handler", (Requests,), {"seen": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.seen
        server.shutdown()
        thread.join()


@pytest.fixture
def talk(join: Any) -> Room:
    """A room with two people, a picture and an answer, seen by the assistant."""
    ada, bob, eve = join("ada"), join("bob"), join("eve")
    bob.send("what is this?")
    eve.send(PICTURE, "look")
    ada.wait_for(lambda each: each.text == "look", 20, after=0)
    ada.send("a picture")
    bob.send("thanks")
    ada.wait_for(lambda each: each.text == "thanks", 20, after=0)
    ada._submit(React(cid="x", user="ada", target=1, emoji="👍"), own=False)
    return ada


def test_openai_s_client_sends_it(talk: Room, api: tuple[str, list[Any]]) -> None:
    import openai

    url, seen = api
    with openai.OpenAI(base_url=url, api_key="-") as client:
        answer = client.chat.completions.create(model="m", messages=talk.conversation("openai"))
    assert answer.choices[0].message.content == "ok"
    [sent] = seen
    assert sent["messages"] == talk.conversation("openai")
    assert [each["role"] for each in sent["messages"]] == ["user", "user", "assistant", "user"]


def test_anthropic_s_client_sends_it(talk: Room, api: tuple[str, list[Any]]) -> None:
    import anthropic

    url, seen = api
    with anthropic.Anthropic(base_url=url, api_key="-") as client:
        answer = client.messages.create(model="m", max_tokens=9, messages=talk.conversation("anthropic"))
    assert answer.content[0].type == "text"
    [sent] = seen
    assert sent["messages"] == talk.conversation("anthropic")
    assert [each["role"] for each in sent["messages"]] == ["user", "assistant", "user"]
    assert [each["type"] for each in sent["messages"][0]["content"]] == ["text", "text", "image"]


def test_an_agent_of_pydantic_ai_answers_it(talk: Room) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart
    from pydantic_ai.models.function import FunctionModel

    given_messages: list[Any] = []

    def model(messages: list[Any], _: object) -> ModelResponse:
        given_messages.extend(messages)
        return ModelResponse(parts=[TextPart("ok")])

    history = talk.conversation("pydantic_ai")
    result = asyncio.run(Agent(FunctionModel(model)).run(message_history=history))
    assert result.output == "ok"
    assert [type(each) for each in given_messages] == [ModelRequest, ModelResponse, ModelRequest]
    first, second = (part for part in given_messages[0].parts if isinstance(part, UserPromptPart))
    assert first.content == "bob: what is this?"
    assert second.content[0] == "eve: look"
    assert second.content[1].data == PICTURE


def assert_it_answers(ada: Room, bob: Room) -> None:
    """One reply, which was a live message."""
    asked = bob.send("@ada is all well?")
    answer = bob.wait_for(lambda each: each.re == asked.seq, 20, after=asked)
    assert (answer.text, answer.end) == ("all is well", "done")


def test_an_answer_of_openai_is_streamed(talk: Room, join: Any, api: tuple[str, list[Any]]) -> None:
    import openai

    url, seen = api

    @talk.on_mention(background=True)
    async def assistant(_: Message):
        async with openai.AsyncOpenAI(base_url=url, api_key="-") as client:
            stream = await client.chat.completions.create(model="m", messages=talk.conversation("openai"), stream=True)
            async for event in stream:
                yield event.choices[0].delta.content or ""

    assert_it_answers(talk, join("bob"))
    assert seen[0]["messages"][-1]["content"] == "bob: @ada is all well?"


def test_an_answer_of_anthropic_is_streamed(talk: Room, join: Any, api: tuple[str, list[Any]]) -> None:
    import anthropic

    url, seen = api

    @talk.on_mention(background=True)
    async def assistant(_: Message):
        async with (
            anthropic.AsyncAnthropic(base_url=url, api_key="-") as client,
            client.messages.stream(model="m", max_tokens=1000, messages=talk.conversation("anthropic")) as stream,
        ):
            async for text in stream.text_stream:
                yield text

    assert_it_answers(talk, join("bob"))
    assert seen[0]["messages"][-1]["content"][-1]["text"] == "bob: @ada is all well?"


def test_an_agent_s_answer_is_streamed(talk: Room, join: Any) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.function import FunctionModel

    async def model(messages: list[Any], _: object):
        assert messages[-1].parts[-1].content == "bob: @ada is all well?"
        for text in ("all ", "is ", "well"):
            yield text

    agent = Agent(FunctionModel(stream_function=model))

    @talk.on_mention(background=True)
    async def assistant(_: Message):
        async with agent.run_stream(message_history=talk.conversation("pydantic_ai")) as result:
            async for text in result.stream_text(delta=True):
                yield text

    assert_it_answers(talk, join("bob"))


def test_every_format_is_tested() -> None:
    assert list(FORMATS) == ["openai", "anthropic", "pydantic_ai"]
