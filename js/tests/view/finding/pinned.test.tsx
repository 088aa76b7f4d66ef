// @vitest-environment happy-dom
/** Pinned messages: a moderator pins them, all see the strip, and it leads to them. */

import { describe, expect, it } from "vitest";
import { act } from "preact/test-utils";
import { FakeLog } from "../../support/fake-log";
import { button, click, close, find, nextFrame, open, press, receive, root, rows, source, useChatWindow } from "../../support/chat-window";

useChatWindow();

const strip = (): HTMLElement | null => root.querySelector("[aria-label='Pinned messages']");
const listed = (): string[] => [...root.querySelectorAll(".bq-all-pins li")].map(({ textContent }) => textContent);
const settle = (): Promise<void> =>
  act(async () => {
    await nextFrame();
    await nextFrame();
  });
const pin = async (target: number, on = true): Promise<void> => {
  await receive(source.log.frame(source.log.change({ kind: "react", target, emoji: "📌", on, pin: true })));
  await settle();
};

/** A room of 200 messages, of which the window has the last 50, and `pinned` are pinned. */
async function fill(...pinned: number[]): Promise<void> {
  const log = new FakeLog();
  for (let number = 1; number <= 200; number += 1) log.append("ada", `loss ${number}`);
  for (const target of pinned) log.change({ kind: "react", target, emoji: "📌", pin: true });
  close();
  await open("me", "h2", log);
  await settle();
}

describe("pinned messages", () => {
  it("are shown below the header, the last pinned one first, also if they are not loaded", async () => {
    await fill(7, 190, 3);
    expect(strip()?.querySelector(".bq-pin")?.textContent).toBe("adaloss 3");
    await click("All 3 pinned messages");
    expect(listed()).toEqual(["adaloss 3", "adaloss 190", "adaloss 7"]);
    await act(async () => {
      root.querySelectorAll<HTMLElement>(".bq-all-pins .bq-pin")[2]!.click();
      await nextFrame();
    });
    await settle();
    expect(find("[aria-current=location]").dataset.seq).toBe("7");
    expect([listed(), find("[data-seq='7']").textContent.includes("Pinned")]).toEqual([[], true]);
  });

  it("come and go for those who are there, and follow edits", async () => {
    await fill();
    expect(strip()).toBeNull();
    await pin(199);
    expect(strip()?.textContent).toBe("adaloss 199");
    await receive(source.log.frame(source.log.change({ kind: "edit", target: 199, text: "the rules" })));
    await settle();
    expect(strip()?.textContent).toBe("adathe rules");
    await pin(199, false);
    expect(strip()).toBeNull();
    expect(find("[data-seq='199']").querySelector(".bq-reaction")).toBeNull();
  });

  it("are a moderator's to pin and to unpin", async () => {
    await fill();
    const row = (): HTMLElement => rows().at(-1)!;
    const focus = (): Promise<void> => act(() => {
        row().dispatchEvent(new FocusEvent("focusin", { bubbles: true }));
      });
    await focus();
    expect(() => button("Pin for all")).toThrow("no button");
    await receive({ ...source.log.hello(true), role: "moderate" });
    await focus();
    await click("Pin for all");
    expect(source.drafts().at(-1)).toMatchObject({ type: "chat.react", target: 200, emoji: "📌", on: true, pin: true });
    await pin(200);
    await focus();
    await click("Unpin");
    expect(source.drafts().at(-1)).toMatchObject({ target: 200, on: false, pin: true });
    await press("Escape");
  });
});
