// @vitest-environment happy-dom
/** The composer: sending, drafts, edits. */

import { act } from "preact/test-utils";
import { describe, expect, it } from "vitest";
import type { Draft } from "../../../src/protocol/client-frames";
import {
  addView,
  box,
  click,
  close,
  find,
  leakedKeys,
  open,
  press,
  receive,
  receiveMessage,
  root,
  rows,
  setCommStatus,
  source,
  statusText,
  type,
  useChatWindow,
} from "../../support/chat-window";

useChatWindow();

describe("the composer", () => {
  it("sends and clears the text on Enter, and not on Shift+Enter", async () => {
    await type("hi");
    await press("Enter", { shiftKey: true });
    expect(source.drafts()).toEqual([]);
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ type: "chat.send", user: "me", text: "hi" }]);
    expect(box().value).toBe("");
    expect(rows().at(-1)?.textContent).toContain("Sending…");
  });

  it("says at the field what is wrong with it, and counts near the limit", async () => {
    const note = (field: HTMLElement): string | undefined =>
      field.getAttribute("aria-describedby")?.split(" ").map((id) => find(`#${CSS.escape(id)}`).textContent).join(" ");
    const name = find("input[aria-label='Your name']");
    await type("x".repeat(28_800));
    expect([box().getAttribute("aria-invalid"), note(box())]).toEqual([null, "28,800 of 32,000 characters"]);
    await type("x".repeat(32_001));
    expect([box().getAttribute("aria-invalid"), note(box())]).toEqual(["true", "1 character too many: the limit is 32,000"]);
    await type("hi");
    expect([box().getAttribute("aria-invalid"), note(box()), name.getAttribute("aria-invalid")]).toEqual([null, undefined, "false"]);
    await press("Enter");
    const { cid } = source.drafts()[0]!;
    await receive({ type: "error", code: "name_taken", message: "me is the name of a verified member", cid, field: "user" });
    expect([name.getAttribute("aria-invalid"), note(name)]).toEqual(["true", "me is the name of a verified member"]);
  });

  it("does not send on an Enter that ends a composition", async () => {
    await type("にほん");
    await press("Enter", { isComposing: true });
    await press("Enter", { keyCode: 229 });
    expect(source.drafts()).toEqual([]);
    expect(box().value).toBe("にほん");
  });

  it("offers plain text only for a text with formatting, and only for that message", async () => {
    const offered = (): Element | null => root.querySelector("button[aria-label^='Send as plain text']");
    await type("2*3*4 and __init__, see https://example.org/a_b");
    expect(offered()).toBeNull();
    await type("*stars*");
    await click("Send as plain text, without formatting");
    expect(offered()?.getAttribute("aria-pressed")).toBe("true");
    await press("Enter");
    expect(rows().at(-1)?.querySelector("em")).toBeNull();
    expect(rows().at(-1)?.textContent).toContain("*stars*");
    await type("*more*");
    expect(offered()?.getAttribute("aria-pressed")).toBe("false");
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ text: "*stars*", format: "plain" }, { text: "*more*" }]);
    expect(source.drafts()[1]).not.toHaveProperty("format");
    await receiveMessage("ada", "*kept* as it is, https://example.org/a", { format: "plain" });
    expect(find("[data-seq='1'] .bq-text").textContent).toBe("*kept* as it is, https://example.org/a");
    expect(root.querySelector("[data-seq='1'] a")).not.toBeNull();
  });

  it("does not send white space", async () => {
    await type(" \n ");
    await press("Enter");
    expect(source.drafts()).toEqual([]);
  });

  it("does not send a text that is too long, and shows the excess in code points", async () => {
    await type("🦊".repeat(32_000));
    expect(root.textContent).not.toContain("too many");
    await type("🦊".repeat(32_002));
    await press("Enter");
    expect(source.drafts()).toEqual([]);
    expect(find("[role=alert]").textContent).toContain("2 characters too many");
  });

  it("keeps keys from the notebook", async () => {
    for (const key of ["d", "Enter", "Escape", "ArrowUp"]) await press(key);
    expect(leakedKeys).toEqual([]);
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "x" }));
    expect(leakedKeys).toEqual(["x"]);
  });

  it("passes Ctrl+S on, once, and prevents the browser's dialog", async () => {
    const saving = new KeyboardEvent("keydown", { key: "s", code: "KeyS", ctrlKey: true, bubbles: true, cancelable: true });
    await act(() => void box().dispatchEvent(saving));
    expect(leakedKeys).toEqual(["s"]);
    expect(saving.defaultPrevented).toBe(true);
    await press("s");
    expect(leakedKeys).toEqual(["s"]);
  });

  it("keeps its draft when the window is reopened", async () => {
    await type("half a thou");
    close();
    await open();
    expect(box().value).toBe("half a thou");
  });

  it("requires a name, and stores it", async () => {
    const name = (): HTMLInputElement => find("input[aria-label='Your name']");
    await type("", name());
    await type("hi");
    await press("Enter");
    expect(source.drafts()).toEqual([]);
    expect(document.activeElement).toBe(name());
    expect(find("[role=alert]").textContent).toContain("Enter your name first");
    await type("grace", name());
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ user: "grace" }]);
    expect(localStorage.getItem("bqwidget:name:me")).toBe("grace");
  });
});

describe("a sent message", () => {
  const refuse = (): Promise<void> =>
    receive({ type: "error", code: "muted", message: "You are muted", cid: source.drafts()[0]!.cid });

  it("replaces its draft when its entry arrives", async () => {
    await type("hi");
    await press("Enter");
    await receiveMessage("me", "hi", { cid: source.drafts()[0]!.cid });
    expect(rows()).toHaveLength(1);
    expect(rows()[0]?.textContent).toContain("Sent");
  });

  it("that is rejected shows the reason, returns to the composer, and is retried under its cid", async () => {
    await type("hi");
    await press("Enter");
    await refuse();
    expect(rows()[0]?.textContent).toContain("Not sent: You are muted");
    expect(box().value).toBe("hi");
    await click("Retry");
    expect(source.drafts().map(({ cid }) => cid)).toEqual([source.drafts()[0]!.cid, source.drafts()[0]!.cid]);
    await receiveMessage("me", "hi", { cid: source.drafts()[0]!.cid });
    expect(box().value).toBe("");
    expect(rows()).toHaveLength(1);
  });

  it("that exceeds the rate limit shows the reason, and stays queued", async () => {
    await type("hi");
    await press("Enter");
    const [{ cid }] = source.drafts() as [Draft];
    await receive({ type: "error", code: "rate", message: "20 messages in 10 s: wait 3 s", cid, retry_ms: 60_000 });
    expect(rows()[0]?.textContent).toContain("Sending…");
    expect(rows()[0]?.textContent).toContain("20 messages in 10 s: wait 3 s");
    expect(box().value).toBe("");
  });

  it("that failed is the same message if its text is sent again", async () => {
    await type("hi");
    await press("Enter");
    await refuse();
    await press("Enter");
    expect(new Set(source.drafts().map(({ cid }) => cid)).size).toBe(1);
    expect(rows()).toHaveLength(1);
    expect(box().value).toBe("");
  });

  it("that failed does not overwrite a new text", async () => {
    await type("hi");
    await press("Enter");
    await type("something else");
    await refuse();
    expect(box().value).toBe("something else");
  });

  it("keeps its text when the comm is closed, and says what to do", async () => {
    await setCommStatus("gone");
    expect(statusText()).toBe("Disconnected: run the cell again");
    await type("hi");
    await press("Enter");
    expect(box().value).toBe("hi");
    expect(rows()).toEqual([]);
    expect(find("[role=alert]").textContent).toContain("your text is kept");
  });
});

describe("a message that is deleted while it is edited", () => {
  const startEdit = async (): Promise<void> => {
    await receiveMessage("me", "before");
    await press("ArrowUp");
    expect(box().value).toBe("before");
  };
  const remove = (): Promise<void> => receive(source.log.frame(source.log.change({ kind: "delete", target: 1 })));

  it("leaves the new text in the composer, and says so", async () => {
    await startEdit();
    await type("rewritten");
    await remove();
    expect(box().value).toBe("rewritten");
    expect(find("[role=alert]").textContent).toBe("The message was deleted meanwhile: your text is kept as a new one");
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ type: "chat.send", text: "rewritten" }]);
  });

  it("leaves nothing of a text that was not changed", async () => {
    await startEdit();
    await remove();
    expect(box().value).toBe("");
    expect(root.querySelector("[role=alert]")).toBeNull();
    expect(root.textContent).not.toContain("Editing your message");
  });
});

describe("a second view of the room", () => {
  it("has the draft of the first until that is sent", async () => {
    await type("shared");
    const second = await addView();
    const other = second.querySelector<HTMLTextAreaElement>("textarea[aria-label=Message]")!;
    expect(other.value).toBe("shared");
    await press("Enter");
    expect([box().value, other.value]).toEqual(["", ""]);
    await type("mine");
    await type("theirs", other);
    await press("Enter");
    expect([box().value, other.value]).toEqual(["", "theirs"]);
    second.remove();
  });
});

describe("ArrowUp in the empty composer", () => {
  it("edits the last own message that is neither deleted nor an answer", async () => {
    await receiveMessage("me", "first");
    await receiveMessage("me", "second");
    await receiveMessage("me", "third");
    await receiveMessage("trainer", "Continue?", { ask: { choices: ["yes"] } });
    await receiveMessage("me", "yes", { re: 4, choice: "yes" });
    await receive(source.log.frame(source.log.change({ kind: "delete", target: 3 })));
    await press("ArrowUp");
    expect(box().value).toBe("second");
    await type("second, better");
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ type: "chat.edit", target: 2, text: "second, better" }]);
    expect(box().value).toBe("");
  });

  it("does nothing with a text in the composer, or without an own message", async () => {
    await receiveMessage("ada", "theirs");
    await press("ArrowUp");
    await receiveMessage("me", "mine");
    await type("a draft");
    await press("ArrowUp");
    expect(root.querySelector(".bq-mode")).toBeNull();
    expect(box().value).toBe("a draft");
  });
});
