/** `reduce`, case by case; `reducer.property.test.ts` tests random cases. */

import { describe, expect, it } from "vitest";
import { reduce } from "../../src/model/reducer";
import { hydratedState, initialState, KEPT_MESSAGES, type Effect, type Input, type State } from "../../src/model/state";
import type { Draft } from "../../src/protocol/client-frames";
import type { ServerFrame } from "../../src/protocol/server-frames";
import { FakeLog } from "../support/fake-log";

/** A joined room with `count` messages, of which the newest are loaded. */
function joined(count = 3): { log: FakeLog; state: State } {
  const log = new FakeLog();
  for (let index = 1; index <= count; index += 1) log.append("ada", `text ${index}`);
  const [joining, effects] = reduce(initialState("lobby", "me", ["me"]), [log.hello(false)]);
  const [state] = reduce(joining, effects.map((effect) => log.answer(effect)!));
  return { log, state };
}

const texts = (state: State): string[] => state.messages.map(({ text }) => text);
const draft = (cid: string, text = "hi"): Draft => ({ type: "chat.send", cid, user: "me", text });
const sent = (cid: string, text?: string): Input => ({ type: "draft", draft: draft(cid, text), at: 1 });
const sends = (effects: Effect[]): string[] => effects.flatMap((each) => (each.do === "send" ? [each.draft.cid] : []));

describe("joining", () => {
  it("loads the newest messages, and older ones on demand", () => {
    const { log, state } = joined(120);
    expect(state.messages).toEqual(log.folded().slice(-50));
    expect(state.complete).toBe(false);
    const [asked, effects] = reduce(state, [{ type: "older", view: {} }, { type: "older", view: {} }]);
    expect(effects).toMatchObject([{ do: "page", position: { before: 71 } }]);
    const [older] = reduce(asked, [log.answer(effects[0]!)!]);
    expect(older.messages).toEqual(log.folded().slice(-100));
  });

  it("continues from the messages in the page's HTML", () => {
    const { log } = joined(3);
    const state = hydratedState(initialState("lobby", "me", ["me"]), { messages: log.folded(), epoch: "e1", seq: 3, oldest: 1 });
    const [next, effects] = reduce(state, [log.hello(true), log.frame(log.append("ada", "text 4"))]);
    expect(texts(next)).toEqual(["text 1", "text 2", "text 3", "text 4"]);
    expect(effects).toEqual([]);
  });

  it("of an empty room is complete at once", () => {
    const { state } = joined(0);
    expect(state).toMatchObject({ loaded: true, complete: true, messages: [], request: null });
  });
});

describe("a gap", () => {
  it("is filled from the log, over several pages, while live frames are held back", () => {
    const { log, state } = joined(3);
    const from = log.last;
    for (let index = 0; index < 450; index += 1) log.append("ada", `missed ${index}`);
    log.change({ kind: "edit", target: 2, text: "edited meanwhile" });
    const to = log.last;
    const live = log.frame(log.append("ada", "live"));
    let [next, effects] = reduce(state, [{ type: "gap", from, to, reason: "long" }, live]);
    let pages = 0;
    while (effects[0]?.do === "log") {
      pages += 1;
      [next, effects] = reduce(next, [log.answer(effects[0])!]);
    }
    expect(pages).toBe(3);
    expect(next.messages).toEqual(log.folded());
    expect(next.lastSeq).toBe(log.last);
  });

  it("that is too long reloads the newest messages", () => {
    const { log, state } = joined(3);
    for (let index = 0; index < 1_200; index += 1) log.append("ada", `missed ${index}`);
    const [next, effects] = reduce(state, [{ type: "gap", from: 3, to: log.last, reason: "long" }]);
    expect(effects).toMatchObject([{ do: "page", position: {} }, { do: "page", position: { pinned: 1 } }]);
    const [reloaded] = reduce(next, [log.answer(effects[0]!)!]);
    expect(reloaded.messages).toEqual(log.folded().slice(-50));
  });

  it("retries a page that failed, and reloads if the log is unavailable", () => {
    const { log, state } = joined(3);
    log.append("ada", "missed");
    const [filling, [ask]] = reduce(state, [{ type: "gap", from: 3, to: 4, reason: "slow" }]);
    if (ask?.do !== "log") throw new Error("expected a log page");
    const [, again] = reduce(filling, [{ type: "page-failed", id: ask.id, permanent: false, message: "x" }]);
    expect(again).toMatchObject([{ do: "log", after: 3, delay: 2_000 }]);
    const [, instead] = reduce(filling, [{ type: "page-failed", id: ask.id, permanent: true, message: "x" }]);
    expect(instead).toMatchObject([{ do: "page", position: {} }, { do: "page", position: { pinned: 1 } }]);
  });

  it("between two entries causes one resume, from the last entry", () => {
    const { log, state } = joined(3);
    log.append("ada", "lost");
    const [, effects] = reduce(state, [log.frame(log.append("ada", "a")), log.frame(log.append("ada", "b"))]);
    expect(effects).toEqual([{ do: "resume", after: 3, epoch: "e1" }]);
  });
});

describe("a draft", () => {
  it("is sent, acknowledged, and replaced by its entry", () => {
    const { log, state } = joined();
    const [sending, effects] = reduce(state, [sent("c1")]);
    expect(sends(effects)).toEqual(["c1"]);
    const entry = log.append("me", "hi", 1, { cid: "c1" });
    const [acked] = reduce(sending, [{ type: "ack", cid: "c1", seq: entry.seq, at: entry.at, dup: false }]);
    expect(acked.pending).toMatchObject([{ cid: "c1", seq: entry.seq }]);
    const [arrived] = reduce(acked, [log.frame(entry)]);
    expect(arrived.pending).toEqual([]);
    expect(texts(arrived).at(-1)).toBe("hi");
  });

  it("is removed by its ack if the entry arrived first", () => {
    const { log, state } = joined();
    const entry = log.append("me", "hi", 1, { cid: "other" });
    const [next] = reduce(state, [sent("c1"), log.frame(entry), { type: "ack", cid: "c1", seq: entry.seq, at: 1, dup: true }]);
    expect(next.pending).toEqual([]);
  });

  it("is sent again under its cid after every hello, until it is acknowledged", () => {
    const { log, state } = joined();
    const [sending] = reduce(state, [sent("c1"), sent("c2")]);
    const [acked] = reduce(sending, [{ type: "ack", cid: "c1", seq: 99, at: 1, dup: false }]);
    const [, effects] = reduce(acked, [log.hello(true)]);
    expect(sends(effects)).toEqual(["c2"]);
  });

  it("that is rejected fails with the server's message, and is sent again on retry", () => {
    const { log, state } = joined();
    const [failed] = reduce(state, [sent("c1"), { type: "error", code: "muted", message: "You are muted", cid: "c1" }]);
    expect(failed.pending).toMatchObject([{ state: "failed", error: { code: "muted", message: "You are muted" } }]);
    expect(sends(reduce(failed, [log.hello(true)])[1])).toEqual([]);
    const [again, effects] = reduce(failed, [{ type: "retry", cid: "c1" }]);
    expect(sends(effects)).toEqual(["c1"]);
    expect(again.pending[0]).toMatchObject({ state: "sending" });
    expect(again.pending[0]?.error).toBeUndefined();
    expect(reduce(failed, [{ type: "discard", cid: "c1" }])[0].pending).toEqual([]);
  });

  it("that exceeds the rate limit waits as long as the server says", () => {
    const { state } = joined();
    const [next, effects] = reduce(state, [
      sent("c1"),
      { type: "error", code: "rate", message: "slow down", cid: "c1", retry_ms: 1_500 },
    ]);
    expect(next.pending).toMatchObject([{ state: "sending", error: { code: "rate", message: "slow down" } }]);
    expect(effects.at(-1)).toMatchObject({ do: "send", delay: 1_500 });
  });

  it("fails when the connection has ended", () => {
    const { state } = joined();
    const [next] = reduce(state, [sent("c1"), { type: "undeliverable", error: { code: "gone", message: "gone" } }]);
    expect(next.pending).toMatchObject([{ state: "failed", error: { message: "gone" } }]);
  });

  it("is written under the name that the server verified, from the hello on", () => {
    const { log, state } = joined();
    const [next] = reduce(state, [{ ...(log.hello(true)), user: "verified" }]);
    expect(next.principal).toBe("verified");
    expect(reduce(next, [log.hello(true)])[0].principal).toBe("verified");
  });

  it("reveals our verified name if its entry has another author", () => {
    const { log, state } = joined();
    const [next] = reduce(state, [sent("c1"), log.frame(log.append("verified", "hi", 1, { cid: "c1" }))]);
    expect(next.principal).toBe("verified");
  });

  it("of another user does not change our name", () => {
    const { log, state } = joined();
    const [next] = reduce(state, [log.frame(log.append("mallory", "hi", 1, { cid: "c1" }))]);
    expect(next.principal).toBeNull();
  });
});

describe("unread", () => {
  const say = (log: FakeLog, user: string): ServerFrame => log.frame(log.append(user, "new"));

  it("counts messages of others while the latest is not visible, from the first", () => {
    const { log, state } = joined();
    const [next] = reduce(state, [say(log, "ada"), say(log, "ada")]);
    expect(next.unread).toEqual({ firstSeq: 4, count: 2 });
  });

  it("keeps the divider while the reader reads, and removes it when they leave", () => {
    const { log, state } = joined();
    const [back] = reduce(state, [say(log, "ada"), { type: "visibility", visible: true }]);
    expect(back.unread).toEqual({ firstSeq: 4, count: 0 });
    const [reading] = reduce(back, [say(log, "ada")]);
    expect(reading.unread).toEqual({ firstSeq: 4, count: 0 });
    const [gone] = reduce(reading, [{ type: "visibility", visible: false }]);
    expect(gone.unread).toEqual({ firstSeq: null, count: 0 });
    const [later] = reduce(gone, [say(log, "ada")]);
    expect(later.unread).toEqual({ firstSeq: 6, count: 1 });
  });

  it("ends with a message of our own", () => {
    const { log, state } = joined();
    expect(reduce(state, [say(log, "ada"), sent("c1")])[0].unread).toEqual({ firstSeq: null, count: 0 });
    expect(reduce(state, [say(log, "ada"), say(log, "me")])[0].unread).toEqual({ firstSeq: null, count: 0 });
  });
});

describe("a snapshot", () => {
  it("replaces the list, and keeps the drafts that are being sent", () => {
    const { log, state } = joined(10);
    const first = log.append("ada", "kept");
    const mine = log.append("me", "mine", 1, { cid: "c1.me" });
    const edit = log.change({ kind: "edit", target: first.seq, text: "edited" });
    const [before] = reduce(state, [sent("c1.me"), sent("c2")]);
    const frames: ServerFrame[] = [
      log.hello(true),
      { type: "message", entry: first },
      { type: "message", entry: mine },
      { type: "change", entry: edit },
      { type: "status", status: "open", error: null, retry_at: null, queued: 0 },
      { type: "synced", seq: edit.seq },
    ];
    const [next, effects] = reduce(before, [{ type: "snapshot", frames }]);
    expect(texts(next)).toEqual(["edited", "mine"]);
    expect(next).toMatchObject({ lastSeq: edit.seq, loaded: true, complete: false, status: { status: "open" } });
    expect(next.pending.map(({ cid }) => cid)).toEqual(["c2"]);
    expect(sends(effects)).toEqual(["c2"]);
    expect(next.unread).toEqual({ firstSeq: first.seq, count: 1 });
    const [live] = reduce(next, [log.frame(log.append("ada", "live"))]);
    expect(texts(live)).toEqual(["edited", "mine", "live"]);
  });

  it("of a kernel that has not joined yet does not load the room", () => {
    const { status } = initialState("lobby");
    const [waiting] = reduce(initialState("lobby"), [{ type: "snapshot", frames: [status] }]);
    expect(waiting.loaded).toBe(false);
    const { log } = joined(3);
    const [asking, effects] = reduce(waiting, [log.hello(false)]);
    expect(reduce(asking, [log.answer(effects[0]!)!])[0]).toMatchObject({ loaded: true, complete: true, lastSeq: 3 });
  });

  it("of an empty room is complete", () => {
    const log = new FakeLog();
    const [next] = reduce(initialState("lobby"), [{ type: "snapshot", frames: [log.hello(false), { type: "synced", seq: 0 }] }]);
    expect(next).toMatchObject({ loaded: true, complete: true, lastSeq: 0 });
  });
});

describe("a batch without a change", () => {
  it("returns the same object", () => {
    const { log, state } = joined();
    const again: Input[] = [log.frame(log.entries[0]!), { type: "visibility", visible: false }, { type: "echo", message: 1 }];
    expect(reduce(state, again)[0]).toBe(state);
    const empty = reduce(initialState("lobby"), [new FakeLog().hello(false)])[0];
    expect(reduce(empty, [{ type: "visibility", visible: false }])[0]).toBe(empty);
  });
});

describe("memory", () => {
  it("is bounded while the latest message is visible; older messages are fetched again", () => {
    const { log, state } = joined();
    let [next] = reduce(state, [{ type: "visibility", visible: true }]);
    for (let index = 0; index < KEPT_MESSAGES * 2; index += 1) [next] = reduce(next, [log.frame(log.append("ada", `t${index}`))]);
    expect(next.messages.length).toBeLessThanOrEqual(KEPT_MESSAGES * 1.5);
    expect(next.complete).toBe(false);
    expect(next.messages).toEqual(log.folded().slice(-next.messages.length));
  });

  it("of an earlier state is never modified", () => {
    const { log, state } = joined();
    const before = JSON.stringify(state.messages);
    const frames = [log.frame(log.append("ada", "new")), log.frame(log.change({ kind: "delete", target: 1 }))];
    const [next] = reduce(state, frames);
    expect(JSON.stringify(state.messages)).toBe(before);
    expect(next.messages[0]).toMatchObject({ deleted: true, text: "" });
  });
});

describe("folding", () => {
  it("treats `__proto__` as any other reaction", () => {
    const { log, state } = joined();
    const [next] = reduce(state, [log.frame(log.change({ kind: "react", target: 1, emoji: "__proto__", on: true }))]);
    expect(Object.entries(next.messages[0]?.reactions ?? {})).toEqual([["__proto__", ["ada"]]]);
    expect(({} as Record<string, unknown>).ada).toBeUndefined();
  });
});

describe("members", () => {
  it("keep their commands where a frame leaves them out", () => {
    const bot = { user: "bot", kind: "agent", commands: [{ name: "mean" }] };
    const kinds = ["agent", "kernel"].map((kind) => ({ user: "bot", kind, typing: true }));
    const [full] = reduce(joined().state, [{ type: "presence", members: [bot] }]);
    const [brief] = reduce(full, [{ type: "presence", members: kinds, same_commands: true }]);
    expect(brief.members).toEqual([{ ...kinds[0], commands: bot.commands }, kinds[1]]);
    const [without] = reduce(brief, [{ type: "presence", members: kinds }]);
    expect(without.members).toEqual(kinds);
  });
});
