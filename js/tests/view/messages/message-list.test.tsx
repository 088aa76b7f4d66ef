// @vitest-environment happy-dom
/** The list of messages. Sizes and scrolling need a real browser. */

import { act } from "preact/test-utils";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  box,
  button,
  click,
  find,
  nextFrame,
  press,
  receive,
  receiveMessage,
  root,
  rows,
  source,
  type,
  useChatWindow,
} from "../../support/chat-window";

useChatWindow();

describe("the list", () => {
  it("shows markup as text everywhere", async () => {
    const evil = "<img src=x onerror=alert(1)>";
    await receiveMessage(evil, evil, { re: 1, ask: { choices: [evil], from: evil }, parts: [{ mime: evil, sha256: "0", size: 1 }] });
    await receiveMessage("ada", "reply", { re: 1 });
    await receive({ type: "error", code: "x", message: evil }, { type: "presence", members: [{ user: evil, typing: true }] });
    expect(root.querySelectorAll("img, script, iframe, object, embed, [onerror]")).toHaveLength(0);
    expect(root.textContent.split(evil).length).toBeGreaterThan(5);
  });

  it("groups messages by author, and shows edits, deletions and reactions", async () => {
    await receiveMessage("ada", "one");
    await receiveMessage("ada", "two");
    await receive(
      source.log.frame(source.log.change({ kind: "edit", target: 1, text: "one, edited" })),
      source.log.frame(source.log.change({ kind: "delete", target: 2 })),
      source.log.frame(source.log.change({ kind: "react", target: 1, emoji: "👍", on: true })),
    );
    expect(rows().map((row) => row.classList.contains("bq-first"))).toEqual([true, false]);
    expect(rows()[0]?.textContent).toContain("one, edited");
    expect(rows()[1]?.textContent).toContain("This message was deleted");
    await click("👍 1: ada");
    expect(source.drafts()).toMatchObject([{ type: "chat.react", target: 1, emoji: "👍", on: true }]);
  });

  it("renders only the last rows of many", async () => {
    const many = Array.from({ length: 1_000 }, (_, index) => source.log.frame(source.log.append("ada", `m${index}`)));
    await receive(...many);
    expect(rows().length).toBeLessThanOrEqual(80);
    expect(rows().at(-1)?.dataset.seq).toBe("1000");
  });

  it("renders only the visible rows during a flood, and the others afterwards", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    await receiveMessage("ada", "before");
    const flood = (): Promise<void> =>
      receive(...Array.from({ length: 100 }, (_, index) => source.log.frame(source.log.append("ada", `m${index}`))));
    await flood();
    await flood();
    expect(rows().length).toBeLessThan(10); // of a window without height
    expect(rows().at(-1)?.dataset.seq).toBe("201");
    await act(() => void vi.advanceTimersByTime(1_000));
    expect(rows()).toHaveLength(80);
  });
});

describe("a message that mentions the reader", () => {
  const marked = (): boolean[] => rows().map((row) => row.querySelector(".bq-mentioned") !== null);

  it("is highlighted, also for screen readers", async () => {
    await receiveMessage("ada", "look, @me!");
    await receiveMessage("ada", "look, @bob!");
    await receiveMessage("me", "I am @me");
    expect(marked()).toEqual([true, false, false]);
    expect(rows()[0]?.textContent).toContain("mentions you");
    await receive({ ...source.log.hello(true), user: "bob" });
    expect(marked()).toEqual([false, true, false]);
  });

  it("has the names of all members marked, once they are known", async () => {
    const names = (): string[] => [...root.querySelectorAll(".bq-at")].map((each) => each.className + each.textContent);
    await receiveMessage("ada", "**@me**, @bob and @nobody");
    expect(names()).toEqual(["bq-at bq-at-own@me"]);
    await receive({ type: "presence", members: [{ user: "bob" }] });
    await receive({ type: "presence", members: [] });
    expect(names()).toEqual(["bq-at bq-at-own@me", "bq-at@bob"]);
  });
});

describe("the toolbar of a message", () => {
  const point = (seq: number): Promise<void> =>
    act(async () => {
      find(`[data-seq="${seq}"] .bq-bubble`).dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
      await nextFrame();
    });

  it("replies with a quote and `re`", async () => {
    await receiveMessage("ada", "original");
    await point(1);
    await click("Reply");
    expect(root.textContent).toContain("Replying to ada");
    await type("answer");
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ type: "chat.send", text: "answer", re: 1 }]);
    expect(root.textContent).not.toContain("Replying to ada");
  });

  it("edits in the composer, and restores the draft", async () => {
    await receiveMessage("me", "tpyo");
    await type("a draft");
    await point(1);
    await click("Edit");
    expect(box().value).toBe("tpyo");
    await type("typo");
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ type: "chat.edit", target: 1, text: "typo" }]);
    expect(box().value).toBe("a draft");
  });

  it("cancels an edit with Escape", async () => {
    await receiveMessage("me", "text");
    await point(1);
    await click("Edit");
    await type("other");
    await press("Escape");
    expect(box().value).toBe("");
    expect(source.drafts()).toEqual([]);
  });

  it("deletes and reacts; messages of others cannot be edited", async () => {
    await receiveMessage("ada", "theirs");
    await receiveMessage("me", "mine");
    await point(1);
    expect(() => button("Edit")).toThrow();
    await click("React");
    await click("🎉");
    await point(2);
    await click("Delete");
    expect(source.drafts()).toHaveLength(1);
    await click("Cancel");
    await click("Delete");
    await click("Delete");
    expect(source.drafts()).toMatchObject([
      { type: "chat.react", target: 1, emoji: "🎉", on: true },
      { type: "chat.delete", target: 2 },
    ]);
  });
});
