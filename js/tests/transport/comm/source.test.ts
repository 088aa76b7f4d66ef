/** The comm source against a kernel that loses and reorders envelopes, is busy, or closes the comm. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Input } from "../../../src/model/state";
import type { Callbacks } from "../../../src/transport/comm/commands";
import { CommSource } from "../../../src/transport/comm/source";
import { FakeLog } from "../../support/fake-log";

type Command = Readonly<Record<string, unknown>>;

/** The kernel's side of a comm: receives commands, sends envelopes, and can close the comm. */
class Kernel {
  readonly received: Command[] = [];
  closed = false;
  /** Whether `send` fulfils its promise, as in marimo; null: it returns none, as in Jupyter. */
  reachable: boolean | null = null;
  readonly #onStatus: ((message: unknown) => void)[] = [];
  readonly #listeners = new Map<string, Set<(content: unknown) => void>>();

  readonly model = {
    get: (): unknown => "",
    send: (content: unknown, callbacks?: Callbacks): unknown => {
      if (this.closed) throw new Error("Comm is closed");
      this.received.push(content as Command);
      if (callbacks) this.#onStatus.push(callbacks.iopub.status);
      if (this.reachable === null) return undefined;
      return (this.reachable ? Promise.resolve() : Promise.reject(new Error("HTTP 403"))).then(() => callbacks?.());
    },
    on: (event: string, callback: (content: unknown) => void): void => {
      this.#listeners.set(event, (this.#listeners.get(event) ?? new Set()).add(callback));
    },
    off: (event: string, callback: (content: unknown) => void): void => {
      this.#listeners.get(event)?.delete(callback);
    },
  };

  send(envelope: unknown): void {
    this.fire("msg:custom", envelope);
  }

  /** Reports as Jupyter does that all commands have been processed. */
  finish(): void {
    for (const onStatus of this.#onStatus.splice(0)) onStatus({ content: { execution_state: "idle" } });
  }

  fire(event: string, content?: unknown): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(content);
  }

  commands(what: string): Command[] {
    return this.received.filter((command) => command.do === what);
  }
}

let kernel: Kernel;
let source: CommSource;
let inputs: Input[];
const log = new FakeLog();
const synced = (seq: number): unknown => ({ type: "synced", seq });
const seqs = (): number[] => inputs.flatMap((input) => (input.type === "synced" ? [input.seq] : []));
const statuses = (): string[] => inputs.flatMap((input) => (input.type === "comm" ? [input.status] : []));

beforeEach(() => {
  vi.useFakeTimers();
  kernel = new Kernel();
  source = new CommSource(kernel.model, "me");
  inputs = [];
  source.start({ dispatch: (added) => inputs.push(...added), cursor: () => ({ after: 0, epoch: null }), user: () => "ada" });
});

afterEach(() => {
  source.stop();
  vi.useRealTimers();
});

function open(n = 0): void {
  kernel.send({ to: "me", ack: 1 });
  kernel.send({ to: "me", n, snapshot: [log.hello(false)] });
}

describe("from the kernel", () => {
  it("reads the time of the next attempt by the kernel's clock", () => {
    const status = { type: "status", status: "reconnecting", error: null, queued: 0, now: 1_000_000, retry_at: 1_004_000 };
    open();
    kernel.send({ n: 1, frames: [status] });
    expect(inputs.at(-1)).toMatchObject({ retry_at: Date.now() + 4_000 });
  });

  it("opens, and dispatches the snapshot and the deltas after it", () => {
    expect(kernel.received).toEqual([{ client: "me", k: 1, do: "open" }]);
    kernel.send({ n: 7, frames: [synced(1)] });
    open(7);
    kernel.send({ n: 8, frames: [synced(2), { type: "unknown" }, null] });
    expect(inputs[0]).toMatchObject({ type: "snapshot" });
    expect(seqs()).toEqual([2]);
  });

  it("dispatches a delta once, and reordered deltas in order", () => {
    open();
    kernel.send({ n: 2, frames: [synced(2)] });
    expect(seqs()).toEqual([]);
    kernel.send({ n: 1, frames: [synced(1)] });
    kernel.send({ n: 2, frames: [synced(2)] });
    expect(seqs()).toEqual([1, 2]);
    vi.advanceTimersByTime(1_000);
    expect(kernel.commands("open")).toHaveLength(1);
  });

  it("requests one snapshot if a delta is missing, and continues after it", () => {
    open();
    kernel.send({ n: 2, frames: [synced(2)] });
    kernel.send({ n: 4, frames: [synced(4)] });
    vi.advanceTimersByTime(300);
    expect(kernel.commands("open")).toHaveLength(2);
    kernel.send({ to: "me", n: 3, snapshot: [log.hello(true)] });
    expect(seqs()).toEqual([4]);
  });

  it("requests the first snapshot again if it is lost", () => {
    kernel.send({ to: "me", ack: 1 });
    vi.advanceTimersByTime(3_000);
    expect(kernel.commands("open")).toHaveLength(2);
    kernel.send({ to: "me", ack: 2 });
    kernel.send({ to: "me", n: 3, snapshot: [log.hello(false)] });
    vi.advanceTimersByTime(10_000);
    expect(kernel.commands("open")).toHaveLength(2);
  });

  it("ignores envelopes for another client", () => {
    open();
    kernel.send({ to: "other", n: 9, snapshot: [synced(9)] });
    kernel.send({ n: 1, frames: [synced(1)] });
    expect(seqs()).toEqual([1]);
  });

  it("acknowledges deltas, at most ten times a second", () => {
    open();
    for (let n = 1; n <= 50; n += 1) kernel.send({ n, frames: [] });
    vi.advanceTimersByTime(100);
    expect(kernel.commands("seen")).toEqual([{ client: "me", do: "seen", n: 50 }]);
  });

  it("acknowledges a snapshot, then every tenth delta of a calm room", () => {
    open();
    for (let n = 1; n <= 25; n += 1) {
      kernel.send({ n, frames: [] });
      vi.advanceTimersByTime(1_000);
    }
    expect(kernel.commands("seen").map((command) => command.n)).toEqual([1, 11, 21]);
  });

  it.each([null, 1, "x", [], { n: "1" }, { n: 1, frames: "x" }, { to: "me", reply: 99 }, { to: "me", ack: null }])(
    "ignores %j",
    (envelope) => {
      open();
      expect(() => kernel.send(envelope)).not.toThrow();
    },
  );
});

describe("to the kernel", () => {
  it("numbers commands, and repeats unacknowledged ones with growing delays", () => {
    open();
    source.send({ type: "chat.ping" });
    // Soon at first: JupyterLab sends to the main thread until it has a subshell.
    vi.advanceTimersByTime(500);
    expect(kernel.commands("frame").map(({ k }) => k)).toEqual([2, 2]);
    vi.advanceTimersByTime(500);
    expect(kernel.commands("frame")).toHaveLength(3);
    vi.advanceTimersByTime(500);
    expect(kernel.commands("frame")).toHaveLength(3);
    vi.advanceTimersByTime(500);
    expect(kernel.commands("frame")).toHaveLength(4);
    kernel.send({ to: "me", ack: 2 });
    vi.advanceTimersByTime(60_000);
    expect(kernel.commands("frame")).toHaveLength(4);
  });

  it("pings a quiet kernel, and a busy one is not reported for that", () => {
    open();
    vi.advanceTimersByTime(11_000);
    expect(kernel.commands("ping").map(({ k }) => k)).toEqual([2, 2, 2]);
    vi.advanceTimersByTime(30_000);
    expect(statuses()).toEqual([]);
    kernel.send({ to: "me", ack: 2 });
    const sent = kernel.commands("ping").length;
    vi.advanceTimersByTime(9_000);
    expect(kernel.commands("ping")).toHaveLength(sent);
  });

  it("reports a kernel that processes commands but does not know this comm, until it answers", () => {
    open();
    vi.advanceTimersByTime(10_000);
    kernel.finish();
    vi.advanceTimersByTime(3_500);
    expect(statuses()).toEqual([]);
    kernel.finish();
    vi.advanceTimersByTime(3_500);
    expect(statuses()).toEqual(["gone"]);
    expect(inputs.at(-1)).toMatchObject({ type: "undeliverable" });
    kernel.send({ n: 1, frames: [synced(1)] });
    expect(statuses()).toEqual(["gone", "ok"]);
  });

  it("reports a kernel to which marimo sends nothing, and opens as a new window when it is reached again", async () => {
    kernel.reachable = true;
    open();
    source.send({ type: "chat.ping" });
    await vi.advanceTimersByTimeAsync(500);
    expect(statuses()).toEqual([]);
    kernel.reachable = false;
    await vi.advanceTimersByTimeAsync(500);
    expect(statuses()).toEqual(["gone"]);
    expect(inputs.at(-1)).toMatchObject({ type: "undeliverable" });
    const sent = kernel.received.length;
    await vi.advanceTimersByTimeAsync(29_000);
    expect(kernel.received).toHaveLength(sent);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(kernel.received).toHaveLength(sent + 1);
    kernel.reachable = true;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(statuses()).toEqual(["gone"]);
    const { client, k } = kernel.received.at(-1)!;
    expect([client === "me", k]).toEqual([false, 1]);
    kernel.send({ to: client, ack: 1 });
    kernel.send({ to: client, n: 3, snapshot: [log.hello(true)] });
    expect(statuses()).toEqual(["gone", "ok"]);
    source.send({ type: "chat.ping" });
    expect(kernel.received.at(-1)).toMatchObject({ client, k: 2 });
  });

  it("expects no acknowledgement of a closed room", () => {
    open();
    kernel.send({ n: 1, frames: [{ type: "status", status: "closed", error: null, retry_at: null, queued: 0 }] });
    vi.advanceTimersByTime(60_000);
    expect(kernel.commands("ping")).toEqual([]);
  });

  it("reports a busy kernel after a second, and the end of it", () => {
    open();
    source.send({ type: "chat.ping" });
    vi.advanceTimersByTime(900);
    expect(statuses()).toEqual([]);
    vi.advanceTimersByTime(500);
    expect(statuses()).toEqual(["busy"]);
    kernel.send({ to: "me", ack: 2 });
    expect(statuses()).toEqual(["busy", "ok"]);
  });

  it("reports a closed comm, and accepts no more frames", () => {
    open();
    kernel.closed = true;
    expect(source.send({ type: "chat.ping" })).toBe(false);
    expect(statuses()).toEqual(["gone"]);
    expect(inputs.at(-1)).toMatchObject({ type: "undeliverable" });
  });

  it("detects a closed comm before a frame is sent", () => {
    open();
    kernel.closed = true;
    kernel.fire("comm_live_update");
    expect(statuses()).toEqual(["gone"]);
  });

  it("requests history, and rejects with the kernel's error", async () => {
    open();
    const [page, refused] = [source.fetchPage({ before: 41 }, 50), source.fetchPage({ around: 1 }, 50)];
    expect(kernel.commands("history")[0]).toEqual({ client: "me", k: 2, do: "history", before: 41, limit: 50 });
    const message = log.append("ada", "old");
    kernel.send({ to: "me", reply: 2, messages: [message, { seq: "wrong" }] });
    kernel.send({ to: "me", reply: 3, error: { code: "http", message: "no" } });
    await expect(page).resolves.toEqual([message]);
    await expect(refused).rejects.toThrow("no");
  });

  it("leaves no timer running after stop", () => {
    open();
    source.send({ type: "chat.ping" });
    source.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
