/** Live messages in `reduce`, case by case. */

import { describe, expect, it } from "vitest";
import { reduce } from "../../src/model/reducer";
import { initialState, type Effect, type Input, type State } from "../../src/model/state";
import type { Message } from "../../src/protocol/entries";
import type { ServerFrame } from "../../src/protocol/server-frames";
import { FakeLog } from "../support/fake-log";

const log = (): { log: FakeLog; live: Message } => {
  const made = new FakeLog();
  made.append("ada", "question");
  return { log: made, live: made.append("bot", "", 1, { live: true }) };
};

/** A joined room with a message of `bot` that is live. */
function joined(): { log: FakeLog; live: Message; state: State } {
  const made = log();
  const [joining, effects] = reduce(initialState("lobby", "me", ["me"]), [made.log.hello(false)]);
  return { ...made, state: after(joining, ...answers(made.log, effects)) };
}

const answers = (log: FakeLog, effects: readonly Effect[]): Input[] => effects.map((effect) => log.answer(effect)!);
const after = (state: State, ...inputs: Input[]): State => reduce(state, inputs)[0];
const text = (state: State): string | undefined => state.messages.find(({ user }) => user === "bot")?.text;
const saved = (log: FakeLog, { seq }: Message): ServerFrame[] => log.save(seq).map((change) => log.shortFrame(change));
const ended = (log: FakeLog, { seq }: Message): ServerFrame =>
  log.frame(log.change({ kind: "end", target: seq, end: "done", user: "bot" }));

describe("a piece of a live message", () => {
  it("is added at once, and without its overlap", () => {
    const { log, live, state } = joined();
    const first = log.write(live.seq, "Hello ");
    let next = after(state, first);
    expect(text(next)).toBe("Hello ");
    next = after(next, first, log.write(live.seq, "wörld 🙂"), log.write(live.seq, "!"));
    expect(text(next)).toBe("Hello wörld 🙂!");
    expect(after(next, ...saved(log, live)).lastSeq).toBe(log.last);
  });

  it("that does not fit waits for the log, which a resume replays with its text", () => {
    const { log, live, state } = joined();
    log.write(live.seq, "lost ");
    const next = after(state, log.write(live.seq, "later"));
    expect(text(next)).toBe("");
    const [resuming, effects] = reduce(next, saved(log, live));
    expect(effects).toEqual([{ do: "resume", after: live.seq, epoch: "e1" }]);
    expect(text(after(resuming, ...log.replay(live.seq, "e1")))).toBe("lost later");
  });

  it("that arrives before the page with its message is added to that", () => {
    const made = log();
    const [joining, effects] = reduce(initialState("lobby", "me", ["me"]), [made.log.hello(false)]);
    const page = answers(made.log, effects);
    const piece = made.log.write(made.live.seq, "early");
    expect(text(after(joining, piece, ...page))).toBe("early");
  });

  it("that was lost before the page with its message arrived makes that page load again", () => {
    const made = log();
    const [joining, effects] = reduce(initialState("lobby", "me", ["me"]), [made.log.hello(false)]);
    const page = answers(made.log, effects);
    made.log.write(made.live.seq, "lost");
    const [again, more] = reduce(joining, [...saved(made.log, made.live), ...page]);
    expect(more).toMatchObject([{ do: "page", position: {}, delay: 2_000 }]);
    expect(again.loaded).toBe(false);
    expect(text(after(again, ...answers(made.log, more)))).toBe("lost");
  });

  it("waits while a gap before it is filled", () => {
    const { log, live, state } = joined();
    log.write(live.seq, "missed ");
    log.save(live.seq);
    const [filling, effects] = reduce(state, [{ type: "gap", from: live.seq, to: log.last, reason: "slow" }]);
    const answer = answers(log, effects);
    const next = after(filling, log.write(live.seq, "new"));
    expect(text(next)).toBe("");
    expect(text(after(next, ...answer))).toBe("missed new");
  });

  it("of a message that has ended changes nothing", () => {
    const { log, live, state } = joined();
    const piece = log.write(live.seq, "text");
    const next = after(state, ended(log, live), piece);
    expect(text(next)).toBe("");
    expect(next.messages.at(-1)).toMatchObject({ live: false, end: "done" });
    expect(next.messages.at(-1)?.edited).toBeUndefined();
  });

  it("replaces the text from its offset on, and brings the progress", () => {
    const { log, live, state } = joined();
    const next = after(state, log.write(live.seq, "12 of 40"));
    const piece = { ...log.write(live.seq, "13 of 40", { offset: 0 }), progress: { fraction: 0.325 } };
    expect(after(next, piece).messages.at(-1)).toMatchObject({ text: "13 of 40", progress: { fraction: 0.325 } });
  });
});

describe("Stop", () => {
  it("is remembered until a new connection, which may not have passed it on", () => {
    const { log, live, state } = joined();
    const next = after(state, { type: "stop", target: live.seq, user: "ada" });
    expect(next.stopping.has(live.seq)).toBe(true);
    expect(after(next, log.hello(true)).stopping.size).toBe(0);
  });

  it("that comes after the end is no error for the reader", () => {
    const { state } = joined();
    const error = { type: "error", code: "not_live", message: "The message is not live" } as const;
    expect(after(state, error).notice).toBeNull();
    expect(after(state, { ...error, code: "muted" }).notice?.code).toBe("muted");
  });
});

describe("a live message is unread", () => {
  it("once, if it began out of view", () => {
    const { log, state } = joined();
    const next = log.append("bot", "", 1, { live: true });
    const begun = after(state, log.frame(next));
    expect(begun.unread).toEqual({ firstSeq: next.seq, count: 1 });
    expect(after(begun, log.write(next.seq, "x"), ended(log, next)).unread).toEqual({ firstSeq: next.seq, count: 1 });
  });

  it("when it ends, if the reader left while it was written", () => {
    const { log, live, state } = joined();
    const seen = after(state, { type: "visibility", visible: true }, { type: "visibility", visible: false });
    expect(after(seen, log.write(live.seq, "x")).unread.count).toBe(0);
    expect(after(seen, ended(log, live)).unread).toEqual({ firstSeq: live.seq, count: 1 });
    const reading = after(state, { type: "visibility", visible: true });
    expect(after(reading, ended(log, live)).unread.count).toBe(0);
  });

  it("also if the notebook's kernel sent its end with a snapshot", () => {
    const { log, live, state } = joined();
    ended(log, live);
    const frames: ServerFrame[] = [log.hello(false), ...log.folded().map((each) => log.frame(each)), { type: "synced", seq: log.last }];
    expect(after(state, { type: "snapshot", frames }).unread).toEqual({ firstSeq: live.seq, count: 1 });
  });
});
