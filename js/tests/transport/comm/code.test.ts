/** Programs of the window's workers come over the comm, once. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fetchCode } from "../../../src/transport/comm/code";
import type { Model } from "../../../src/transport/comm/commands";

class FakeModel implements Model {
  readonly sent: unknown[] = [];
  readonly listeners = new Set<(content: unknown, buffers?: readonly DataView[]) => void>();
  closed = false;

  get = (): unknown => undefined;
  send(content: unknown): void {
    if (this.closed) throw new Error("closed");
    this.sent.push(content);
  }
  on(_: string, callback: (content: unknown, buffers?: readonly DataView[]) => void): void {
    this.listeners.add(callback);
  }
  off(_: string, callback: (content: unknown, buffers?: readonly DataView[]) => void): void {
    this.listeners.delete(callback);
  }
  receive(content: unknown, program?: string): void {
    const buffers = program === undefined ? [] : [new DataView(new TextEncoder().encode(program).buffer)];
    for (const listener of [...this.listeners]) listener(content, buffers);
  }
}

describe("a program", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("is the one that was asked for", async () => {
    const model = new FakeModel();
    const loaded = fetchCode(model, "math");
    expect(model.sent).toEqual([{ do: "code", name: "math" }]);
    model.receive({ n: 1, frames: [] });
    model.receive({ code: "v1", name: "worker" }, "worker");
    model.receive({ code: "v1" }, "the view");
    model.receive({ code: "v1", name: "math" }, "math");
    expect(await loaded).toBe("math");
    expect(model.listeners.size).toBe(0);
  });

  it("is not asked for again while the kernel may be busy", async () => {
    const model = new FakeModel();
    for (let round = 0; round < 8; round += 1) {
      const loaded = fetchCode(model, "math");
      const failed = expect(loaded).rejects.toThrow("no kernel has sent math");
      await vi.advanceTimersByTimeAsync(35_000);
      await failed;
    }
    expect(model.sent).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(60_000);
    const failed = expect(fetchCode(model, "math")).rejects.toThrow();
    expect(model.sent).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(35_000);
    await failed;
    model.receive({ code: "v1", name: "math" }, "late");
    expect(await fetchCode(model, "math")).toBe("late");
    expect(model.sent).toHaveLength(2);
  });

  it("cannot be had over a closed comm", async () => {
    const model = new FakeModel();
    model.closed = true;
    await expect(fetchCode(model, "math")).rejects.toThrow("closed");
  });
});
