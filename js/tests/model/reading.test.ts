/** What the reader has read: from the server or this browser at the first hello, kept as they read. */

import { describe, expect, it } from "vitest";
import { reduce } from "../../src/model/reducer";
import { hydratedState, initialState, type Effect, type Input, type State } from "../../src/model/state";
import { FakeLog } from "../support/fake-log";

const SEEN: Input = { type: "visibility", visible: true };
const HIDDEN: Input = { type: "visibility", visible: false };
const OPEN: Input = { type: "status", status: "open", error: null, retry_at: null, queued: 0 };

function logOf(count: number): FakeLog {
  const log = new FakeLog();
  for (let index = 1; index <= count; index += 1) log.append("ada", `text ${index}`);
  return log;
}

/** A room whose server says that we have read up to `read` (undefined: it does not keep that). */
function joined(log: FakeLog, read: number | undefined, kept: number | null, ...first: Input[]): [State, Effect[]] {
  const start = initialState("lobby", "me", ["me"], kept === null ? null : { epoch: "e1", seq: kept });
  const hello = { ...log.hello(false), ...(read === undefined ? {} : { user: "me", read }) };
  const [joining, asked] = reduce(start, [...first, hello]);
  const [state, effects] = reduce(joining, asked.map((effect) => log.answer(effect)!));
  return [state, effects];
}

const reads = (effects: Effect[]): number[] => effects.flatMap((each) => (each.do === "read" ? [each.seq] : []));
const say = (log: FakeLog): Input => log.frame(log.append("ada", "new"));

describe("the position at the first hello", () => {
  it("is the server's, and shows what is unread from there", () => {
    const [state, effects] = joined(logOf(5), 2, 4);
    expect(state.unread).toEqual({ firstSeq: 3, count: 3 });
    expect(reads(effects)).toEqual([]);
  });

  it("is the browser's where the server keeps none, if it is of the same history", () => {
    expect(joined(logOf(5), undefined, 4)[0].unread).toEqual({ firstSeq: 5, count: 1 });
    const log = logOf(5);
    log.epoch = "other";
    expect(joined(log, undefined, 4)[0].unread).toEqual({ firstSeq: null, count: 0 });
  });

  it("of a first visit is what was there, which this browser keeps", () => {
    const [state, effects] = joined(logOf(5), undefined, null, SEEN);
    expect(state.unread).toEqual({ firstSeq: null, count: 0 });
    expect(reads(effects)).toEqual([5]);
    expect(reads(reduce(state, [{ type: "dismiss" }])[1])).toEqual([]);
  });

  it("of someone who has never read here shows no divider, but is kept", () => {
    const [state, effects] = joined(logOf(5), 0, null, SEEN);
    expect(state.unread).toEqual({ firstSeq: null, count: 0 });
    expect(reads(effects)).toEqual([5]);
  });

  it("leaves the divider while the reader sees the newest message", () => {
    const [state, effects] = joined(logOf(5), 2, null, SEEN);
    expect(state.unread).toEqual({ firstSeq: 3, count: 0 });
    expect(reads(effects)).toEqual([5]);
  });

  it("is above older messages that are loaded later", () => {
    const log = logOf(120);
    const [state] = joined(log, 20, null, SEEN);
    expect(state.unread.firstSeq).toBe(71);
    const [asked, effects] = reduce(state, [{ type: "older", view: {} }]);
    const [once, more] = reduce(asked, [log.answer(effects[0]!)!, { type: "older", view: {} }]);
    expect(once.unread.firstSeq).toBe(21);
    expect(reduce(once, [log.answer(more[0]!)!])[0].unread.firstSeq).toBe(21);
  });

  it("holds for messages in the page's HTML", () => {
    const log = logOf(5);
    const page = hydratedState(initialState("lobby", "me", ["me"]), { messages: log.folded(), epoch: "e1", seq: 5, oldest: 1 });
    const [state] = reduce(page, [{ ...log.hello(true), user: "me", read: 3 }]);
    expect(state.unread).toEqual({ firstSeq: 4, count: 2 });
  });
});

describe("reading", () => {
  it("is kept for each new message that the reader sees, and for none that they don't", () => {
    const log = logOf(3);
    const [state] = joined(log, 3, null, SEEN);
    const [here, effects] = reduce(state, [say(log), say(log)]);
    expect(reads(effects)).toEqual([5]);
    const [away, none] = reduce(here, [HIDDEN, say(log)]);
    expect([reads(none), away.unread]).toEqual([[], { firstSeq: 6, count: 1 }]);
    expect(reads(reduce(away, [SEEN])[1])).toEqual([6]);
  });

  it("in another window ends what is unread here, with the divider", () => {
    const log = logOf(3);
    const [state] = joined(log, 1, null);
    expect(state.unread).toEqual({ firstSeq: 2, count: 2 });
    const [part] = reduce(state, [{ type: "read", seq: 2 }]);
    expect(part.unread).toEqual({ firstSeq: 3, count: 1 });
    const [all] = reduce(part, [{ type: "read", seq: 3 }, { type: "read", seq: 1 }]);
    expect(all.unread).toEqual({ firstSeq: null, count: 0 });
  });

  it("is kept again after a reconnection, unless the server has confirmed it", () => {
    const log = logOf(3);
    const [state] = joined(log, 1, null, OPEN, SEEN);
    const lost: Input = { ...OPEN, status: "reconnecting" };
    expect(reads(reduce(state, [lost, OPEN])[1])).toEqual([3]);
    const [confirmed] = reduce(state, [{ type: "read", seq: 3 }]);
    expect(reads(reduce(confirmed, [lost, OPEN])[1])).toEqual([]);
  });

  it("starts again in a new history", () => {
    const log = logOf(3);
    const [state] = joined(log, 3, null, SEEN);
    const other = logOf(2);
    other.epoch = "e2";
    const [next] = reduce(state, [{ ...other.hello(false), user: "me", read: 1 }]);
    expect(next.reading).toMatchObject({ seq: 1, openedAt: 1 });
  });
});
