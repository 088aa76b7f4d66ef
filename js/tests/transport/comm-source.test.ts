/** The comm source against a kernel's end that loses, reorders, stalls and dies. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CommSource } from "../../src/transport/comm-source";
import type { Input } from "../../src/model/state";
import { Log } from "../support/fake-log";

type Command = Readonly<Record<string, unknown>>;

/** The kernel's end of a comm: hears commands, says envelopes, and can be gone. */
class Kernel {
  readonly heard: Command[] = [];
  gone = false;
  readonly #listeners = new Map<string, Set<(content: unknown) => void>>();

  readonly model = {
    get: (): unknown => "",
    send: (content: unknown): void => {
      if (this.gone) throw new Error("Comm is closed");
      this.heard.push(content as Command);
    },
    on: (event: string, callback: (content: unknown) => void): void => {
      this.#listeners.set(event, (this.#listeners.get(event) ?? new Set()).add(callback));
    },
    off: (event: string, callback: (content: unknown) => void): void => {
      this.#listeners.get(event)?.delete(callback);
    },
  };

  say(envelope: unknown): void {
    this.fire("msg:custom", envelope);
  }

  fire(event: string, content?: unknown): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(content);
  }

  did(what: string): Command[] {
    return this.heard.filter((command) => command.do === what);
  }
}

let kernel: Kernel;
let source: CommSource;
let taken: Input[];
const log = new Log();
const synced = (seq: number): unknown => ({ type: "synced", seq });
const seqs = (): number[] => taken.flatMap((input) => (input.type === "synced" ? [input.seq] : []));
const links = (): string[] => taken.flatMap((input) => (input.type === "link" ? [input.link] : []));

beforeEach(() => {
  vi.useFakeTimers();
  kernel = new Kernel();
  source = new CommSource(kernel.model, "me");
  taken = [];
  source.start({ take: (inputs) => taken.push(...inputs), cursor: () => ({ after: 0, epoch: null }), user: () => "ada" });
});

afterEach(() => {
  source.stop();
  vi.useRealTimers();
});

function opened(n = 0): void {
  kernel.say({ to: "me", ack: 1 });
  kernel.say({ to: "me", n, snapshot: [log.hello(false)] });
}

describe("from the kernel", () => {
  it("opens, and takes the snapshot and the deltas after it", () => {
    expect(kernel.heard).toEqual([{ client: "me", k: 1, do: "open" }]);
    kernel.say({ n: 7, frames: [synced(1)] });
    opened(7);
    kernel.say({ n: 8, frames: [synced(2), { type: "unknown" }, null] });
    expect(taken[0]).toMatchObject({ type: "snapshot" });
    expect(seqs()).toEqual([2]);
  });

  it("takes a delta once, and two that changed places in order", () => {
    opened();
    kernel.say({ n: 2, frames: [synced(2)] });
    expect(seqs()).toEqual([]);
    kernel.say({ n: 1, frames: [synced(1)] });
    kernel.say({ n: 2, frames: [synced(2)] });
    expect(seqs()).toEqual([1, 2]);
    vi.advanceTimersByTime(1_000);
    expect(kernel.did("open")).toHaveLength(1);
  });

  it("asks for a snapshot where one is missing, once, and goes on from it", () => {
    opened();
    kernel.say({ n: 2, frames: [synced(2)] });
    kernel.say({ n: 4, frames: [synced(4)] });
    vi.advanceTimersByTime(300);
    expect(kernel.did("open")).toHaveLength(2);
    kernel.say({ to: "me", n: 3, snapshot: [log.hello(true)] });
    expect(seqs()).toEqual([4]);
  });

  it("asks again where the very first snapshot is lost, until it comes", () => {
    kernel.say({ to: "me", ack: 1 });
    vi.advanceTimersByTime(3_500);
    expect(kernel.did("open")).toHaveLength(2);
    kernel.say({ to: "me", ack: 2 });
    kernel.say({ to: "me", n: 3, snapshot: [log.hello(false)] });
    vi.advanceTimersByTime(10_000);
    expect(kernel.did("open")).toHaveLength(2);
  });

  it("does not hear what is for another browser", () => {
    opened();
    kernel.say({ to: "other", n: 9, snapshot: [synced(9)] });
    kernel.say({ n: 1, frames: [synced(1)] });
    expect(seqs()).toEqual([1]);
  });

  it("says what it has seen, at most ten times a second", () => {
    opened();
    for (let n = 1; n <= 50; n += 1) kernel.say({ n, frames: [] });
    vi.advanceTimersByTime(100);
    expect(kernel.did("seen")).toEqual([{ client: "me", do: "seen", n: 50 }]);
  });

  it.each([null, 1, "x", [], { n: "1" }, { n: 1, frames: "x" }, { to: "me", reply: 99 }, { to: "me", ack: null }])(
    "survives %j",
    (envelope) => {
      opened();
      expect(() => kernel.say(envelope)).not.toThrow();
    },
  );
});

describe("to the kernel", () => {
  it("numbers commands and repeats what is not acknowledged, ever more slowly", () => {
    opened();
    source.send({ type: "chat.ping" });
    vi.advanceTimersByTime(3_250);
    expect(kernel.did("frame").map(({ k }) => k)).toEqual([2, 2]);
    vi.advanceTimersByTime(3_000);
    expect(kernel.did("frame")).toHaveLength(2);
    vi.advanceTimersByTime(3_500);
    expect(kernel.did("frame")).toHaveLength(3);
    kernel.say({ to: "me", ack: 2 });
    vi.advanceTimersByTime(60_000);
    expect(kernel.did("frame")).toHaveLength(3);
  });

  it("says that the kernel is busy after a second, and that it no longer is", () => {
    opened();
    source.send({ type: "chat.ping" });
    vi.advanceTimersByTime(900);
    expect(links()).toEqual([]);
    vi.advanceTimersByTime(500);
    expect(links()).toEqual(["busy"]);
    kernel.say({ to: "me", ack: 2 });
    expect(links()).toEqual(["busy", "ok"]);
  });

  it("says that the kernel is gone, and takes nothing more", () => {
    opened();
    kernel.gone = true;
    expect(source.send({ type: "chat.ping" })).toBe(false);
    expect(links()).toEqual(["gone"]);
    expect(taken.at(-1)).toMatchObject({ type: "undeliverable" });
  });

  it("notices a closed comm before anybody writes", () => {
    opened();
    kernel.gone = true;
    kernel.fire("comm_live_update");
    expect(links()).toEqual(["gone"]);
  });

  it("asks for history, and tells an answer from a refusal", async () => {
    opened();
    const [page, refused] = [source.page(41, 50), source.page(1, 50)];
    expect(kernel.did("history")[0]).toEqual({ client: "me", k: 2, do: "history", before: 41, limit: 50 });
    const message = log.say("ada", "old");
    kernel.say({ to: "me", reply: 2, messages: [message, { seq: "wrong" }] });
    kernel.say({ to: "me", reply: 3, error: { code: "http", message: "no" } });
    await expect(page).resolves.toEqual([message]);
    await expect(refused).rejects.toThrow("no");
  });

  it("leaves no timer behind", () => {
    opened();
    source.send({ type: "chat.ping" });
    source.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
