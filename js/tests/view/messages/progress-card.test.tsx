// @vitest-environment happy-dom
/** The progress of some work: a live message with `progress`. */

import { expect, it } from "vitest";
import type { Change } from "../../../src/protocol/entries";
import { button, click, find, receive, receiveMessage, root, rows, source, useChatWindow } from "../../support/chat-window";

useChatWindow();

const start = (text: string, fraction?: number): Promise<void> =>
  receiveMessage("trainer", text, { live: true, progress: fraction === undefined ? {} : { fraction } });
const end = (how: NonNullable<Change["end"]>, more: Partial<Change> = {}): Promise<void> =>
  receive(source.log.frame(source.log.change({ kind: "end", target: 1, user: "trainer", end: how, ...more })));
const bar = (): HTMLElement => find("[role=progressbar]");

it("shows the title, the lines and the done fraction, as text and not as Markdown", async () => {
  await start("epoch_1_2\n12 of 40 · **3**/s", 0.309);
  expect(rows()[0]?.textContent).toContain("epoch_1_212 of 40 · **3**/s");
  expect([bar().getAttribute("aria-label"), bar().getAttribute("aria-valuenow")]).toEqual(["epoch_1_2", "30"]);
  expect(bar().getAttribute("style")).toContain("0.309");
  await receive({ type: "append", target: 1, offset: 10, text: "20 of 40", replace: true, progress: { fraction: 0.5 } });
  expect(rows()[0]?.textContent).toContain("20 of 40");
  expect(bar().getAttribute("aria-valuenow")).toBe("50");
});

it("without a fraction has no value", async () => {
  await start("download");
  expect(bar().hasAttribute("aria-valuenow")).toBe(false);
  expect(bar().classList.contains("bq-indeterminate")).toBe(true);
});

it("never leaves the bar, whatever the fraction is", async () => {
  await start("too much", 7);
  expect(bar().getAttribute("aria-valuenow")).toBe("100");
  await receive({ type: "append", target: 1, offset: 0, text: "too little", replace: true, progress: { fraction: -1 } });
  expect(bar().getAttribute("aria-valuenow")).toBe("0");
});

it("is stopped by a button while it runs", async () => {
  await start("epoch 3", 0.1);
  expect(rows()[0]?.textContent).toContain("running…");
  await click("Stop");
  expect(source.sent.at(-1)).toEqual({ type: "chat.stop", target: 1, user: "me" });
  expect(rows()[0]?.textContent).toContain("stopping…");
  await end("stopped", { stopped_by: "me", text: "■ epoch 3\n4 of 40" });
  expect(() => button("Stop")).toThrow();
  expect(rows()[0]?.textContent).toContain("epoch 34 of 40stopped by me");
  expect(rows()[0]?.textContent).not.toContain("■");
});

it("names who stopped it once", async () => {
  await start("epoch 3", 0.1);
  await end("stopped", { stopped_by: "ada", text: "■ epoch 3: 10 % · stopped by ada" });
  expect(rows()[0]?.textContent.match(/stopped by ada/gu)).toHaveLength(1);
});

it("offers no button where its author does not stop", async () => {
  await receiveMessage("trainer", "epoch 3", { live: true, progress: { fraction: 0.1 }, stoppable: false });
  expect(rows()[0]?.textContent).toContain("running…");
  expect(() => button("Stop")).toThrow();
});

it("shows the time left while it runs, and no more when its author is gone", async () => {
  await receiveMessage("trainer", "epoch 3\n10 %", { live: true, progress: { fraction: 0.1, left_ms: 90_000 } });
  expect(rows()[0]?.textContent).toContain("10 % · 90 sec left");
  await receive({ type: "append", target: 1, offset: 7, text: "\n20 %", replace: true, progress: { fraction: 0.2, left_ms: 600_000 } });
  expect(rows()[0]?.textContent).toContain("20 % · 10 min left");
  await end("lost");
  expect(rows()[0]?.textContent).not.toContain("left");
});

it.each([
  ["failed", "failed"],
  ["lost", "ended: its author is gone"],
] as const)("that is %s says so, and how far it came", async (how, words) => {
  await start("epoch 3", 0.25);
  await end(how);
  expect(rows()[0]?.textContent).toContain(words);
  expect(bar().getAttribute("aria-valuenow")).toBe("25");
});

it("that is done has no bar", async () => {
  await start("epoch 3", 0.9);
  await end("done", { text: "✓ epoch 3\n40 of 40 in 12 s" });
  expect(root.querySelector("[role=progressbar]")).toBeNull();
  expect(find(".bq-progress-done").textContent).toContain("doneepoch 340 of 40 in 12 s");
});
