// @vitest-environment happy-dom
/** Live messages in the window: drawn while they grow, stopped, ended, announced. */

import { act } from "preact/test-utils";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { Message } from "../../../src/protocol/entries";
import {
  box,
  button,
  click,
  find,
  nextFrame,
  receive,
  receiveMessage,
  root,
  rows,
  setCommStatus,
  source,
  statusFrame,
  useChatWindow,
} from "../../support/chat-window";

useChatWindow();

/** Opens a live message; returns its seq. */
async function openLive(user = "bot", extra: Partial<Message> = {}): Promise<number> {
  await receiveMessage(user, "", { live: true, ...extra });
  return source.log.last;
}
const write = (target: number, text: string): Promise<void> => receive(source.log.write(target, text));
const end = (target: number, extra: object = {}): Promise<void> =>
  receive(
    ...source.log.save(target).map((change) => source.log.shortFrame(change)),
    source.log.frame(source.log.change({ kind: "end", target, end: "done", user: "bot", ...extra })),
  );
const step = (target: number, id: string, state: "running" | "done" | "failed", extra: object = {}): Promise<void> =>
  receive(source.log.frame(source.log.change({ kind: "step", target, id, title: `step ${id}`, state, ...extra })));
const row = (seq: number): HTMLElement => find(`[data-seq="${seq}"]`);
const stopButtons = (): number => [...root.querySelectorAll("button")].filter(({ textContent }) => textContent === "Stop").length;
const announced = (): string => find("[aria-live]").textContent;
const point = (seq: number): Promise<void> =>
  act(async () => {
    find(`[data-seq="${seq}"] .bq-bubble`).dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
    await nextFrame();
  });

describe("a live message", () => {
  it("grows block by block: finished blocks stay, and so does all of it at the end", async () => {
    const seq = await openLive();
    expect(row(seq).textContent).toContain("writing…");
    expect(row(seq).getAttribute("aria-busy")).toBe("true");
    await write(seq, "# Title\n\nSome **bo");
    await write(seq, "ld** words\n\n- one\n- t");
    await vi.waitFor(() => expect(row(seq).querySelectorAll(".bq-text > *")).toHaveLength(3), { timeout: 18_000 });
    const [title, paragraph, list] = row(seq).querySelectorAll(".bq-text > *");
    expect([title?.tagName, paragraph?.tagName, list?.tagName]).toEqual(["H1", "P", "UL"]);
    const changes: MutationRecord[] = [];
    const observer = new MutationObserver((records) => changes.push(...records));
    observer.observe(title!, { subtree: true, childList: true, characterData: true });
    observer.observe(paragraph!, { subtree: true, childList: true, characterData: true });
    await write(seq, "wo\n\nThe end");
    await end(seq);
    await vi.waitFor(() => expect(row(seq).querySelectorAll(".bq-text > *")).toHaveLength(4), { timeout: 18_000 });
    expect([...row(seq).querySelectorAll(".bq-text > *")].slice(0, 3)).toEqual([title, paragraph, list]);
    expect([...changes, ...observer.takeRecords()]).toEqual([]);
    expect(row(seq).querySelector(".bq-text")?.textContent.replaceAll("\n", "")).toBe("TitleSome bold wordsonetwoThe end");
    expect(row(seq).textContent).not.toContain("edited");
    expect(row(seq).textContent).not.toContain("writing…");
    expect(row(seq).getAttribute("aria-busy")).not.toBe("true");
  });

  it("is never folded, and what was read while it grew stays open", async () => {
    const seq = await openLive();
    await write(seq, "line\n".repeat(100));
    expect(row(seq).querySelector(".bq-folded, .bq-fold")).toBeNull();
    await end(seq);
    expect(row(seq).querySelector(".bq-folded")).toBeNull();
    await click("Show less");
    expect(row(seq).querySelector(".bq-folded")).not.toBeNull();
    await receiveMessage("ada", "line\n".repeat(100));
    expect(rows()[1]?.querySelector(".bq-folded")).not.toBeNull();
  });

  it("of the reader cannot be edited until its end", async () => {
    const seq = await openLive("me");
    await write(seq, "text");
    await point(seq);
    expect(() => button("Edit")).toThrow();
    expect(button("Delete")).toBeDefined();
    await end(seq);
    expect(button("Edit")).toBeDefined();
  });

  it("renders only its own row", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }); // nothing is announced meanwhile
    onTestFinished(() => void vi.useRealTimers());
    await receiveMessage("ada", "other");
    const seq = await openLive();
    const changes: MutationRecord[] = [];
    const observer = new MutationObserver((records) => changes.push(...records));
    observer.observe(find("section"), { subtree: true, childList: true, characterData: true, attributes: true });
    await write(seq, "token");
    const targets = [...changes, ...observer.takeRecords()].map(({ target }) => target);
    expect(targets.length).toBeGreaterThan(0);
    expect(targets.every((each) => row(seq).contains(each))).toBe(true);
  });
});

describe("Stop", () => {
  it("asks the author, and shows that until the message has ended", async () => {
    const seq = await openLive();
    await write(seq, "text");
    await click("Stop");
    expect(source.sent).toContainEqual({ type: "chat.stop", target: seq, user: "me" });
    expect(row(seq).textContent).toContain("stopping…");
    await end(seq, { end: "stopped", stopped_by: "me" });
    expect(row(seq).textContent).toContain("stopped by me");
    expect(stopButtons()).toBe(0);
  });

  it("of another member is shown too", async () => {
    const seq = await openLive();
    await receive({ type: "stop", target: seq, user: "ada" });
    expect(row(seq).textContent).toContain("stopping…");
    expect(stopButtons()).toBe(1);
  });

  it("is not shown as sent while nothing can be sent", async () => {
    const seq = await openLive();
    await receive({ type: "status", status: "reconnecting", error: null, retry_at: null, queued: 0 });
    await click("Stop");
    expect(row(seq).textContent).toContain("writing…");
    await receive(statusFrame("open"));
    await setCommStatus("gone");
    await click("Stop");
    expect(source.sent.filter(({ type }) => type === "chat.stop")).toEqual([]);
  });
});

describe("the end of a live message", () => {
  it.each([
    [{ end: "failed", text: "half\n\nValueError: no" }, "failed"],
    [{ end: "lost" }, "ended: its author is gone"],
    [{ end: "stopped" }, "stopped"],
    [{ end: "done" }, null],
  ] as const)("%j", async (ending, shown) => {
    const seq = await openLive();
    await write(seq, "half");
    await end(seq, ending);
    expect(row(seq).querySelector(".bq-live")?.textContent ?? null).toBe(shown);
    const text = "text" in ending ? "ValueError: no" : "half";
    await vi.waitFor(() => expect(row(seq).textContent).toContain(text), { timeout: 18_000 }); // later if parsing is slow
  });
});

describe("steps", () => {
  const shown = (seq: number): string[] => [...row(seq).querySelectorAll(".bq-step")].map(({ textContent }) => textContent);

  it("are listed while the message is live, and folded when it has ended", async () => {
    const seq = await openLive();
    await step(seq, "a", "running");
    expect(shown(seq)).toEqual(["runningstep a"]);
    await step(seq, "a", "done", { ms: 1_234, text: "3 hits" });
    await step(seq, "b", "failed", { ms: 90_000 });
    expect(shown(seq)).toEqual(["donestep a1.2 sec", "failedstep b90 sec"]);
    expect(row(seq).textContent).not.toContain("3 hits");
    await click("step a");
    expect(shown(seq)[0]).toContain("3 hits");
    await end(seq);
    expect(shown(seq)).toEqual([]);
    await click("2 steps · 1 failed");
    expect(shown(seq)).toHaveLength(2);
  });

  it("stay as the reader left them", async () => {
    const seq = await openLive();
    await step(seq, "a", "running");
    await click("1 step");
    expect(shown(seq)).toEqual([]);
    await step(seq, "b", "running");
    expect(shown(seq)).toEqual([]);
    await click("2 steps");
    await end(seq);
    expect(shown(seq)).toHaveLength(2);
  });
});

describe("a screen reader", () => {
  it("hears a live message once, at its end", async () => {
    const seq = await openLive();
    await receiveMessage("ada", "meanwhile");
    await vi.waitFor(() => expect(announced()).toBe("ada: meanwhile"), { timeout: 18_000 });
    await write(seq, "the whole ");
    await write(seq, "answer");
    expect(announced()).toBe("ada: meanwhile");
    await end(seq, { end: "stopped", stopped_by: "ada" });
    await vi.waitFor(() => expect(announced()).toBe("bot: the whole answer. stopped by ada"), { timeout: 18_000 });
    await receiveMessage("ada", "later");
    await vi.waitFor(() => expect(announced()).toBe("ada: later"), { timeout: 18_000 });
  });
});

describe("what members do", () => {
  it("is shown in the typing line and in the list of members", async () => {
    await receive({
      type: "presence",
      members: [{ user: "bot", kind: "kernel", typing: "thinking…" }, { user: "ada", typing: true }],
    });
    expect(find(".bq-typing").textContent).toBe("bot: thinking… · ada is typing…");
    await act(() => find<HTMLButtonElement>(".bq-members button").click());
    expect([...root.querySelectorAll(".bq-people li")].map(({ textContent }) => textContent)).toEqual(["Bbotthinking…", "Aadatyping…"]);
    expect(box()).toBeDefined();
  });
});
