// @vitest-environment happy-dom
import { render } from "preact";
import { act } from "preact/test-utils";
import { describe, expect, it, vi } from "vitest";
import { RequestError } from "../../../src/protocol/errors";
import { FakeLog } from "../../support/fake-log";
import { addView, button, click, close, find, nextFrame, open, press, receive, root, rows, source, type, useChatWindow } from "../../support/chat-window";

useChatWindow();

const searchBox = (): HTMLInputElement => find("input[type=search]");
const hits = (): string[] => [...root.querySelectorAll("[role=option]")].map((each) => each.querySelector("p:last-child")!.textContent);
const state = (): string => find(".bq-find-state").textContent;
const marked = (within: ParentNode = root): (string | undefined)[] =>
  [...within.querySelectorAll<HTMLElement>("[aria-current=location]")].map(({ dataset }) => dataset.seq);
const settle = (): Promise<void> =>
  act(async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    await nextFrame();
  });

/** A room of 500 messages, of which the window has the last 50. */
async function fill(heading: "h1" | "h2" = "h2"): Promise<void> {
  const log = new FakeLog();
  for (let number = 1; number <= 500; number += 1) log.append("ada", `loss ${number}`);
  close();
  await open("me", heading, log);
  await settle();
}

async function search(words: string): Promise<void> {
  await click("Search");
  await type(words, searchBox());
  await settle();
}

describe("the search", () => {
  it("finds messages that are not loaded, and Enter goes to one", async () => {
    await fill();
    await search("loss 7");
    expect(hits().slice(0, 2)).toEqual(["loss 497", "loss 487"]);
    expect([...root.querySelectorAll("mark")].map((each) => each.textContent).slice(0, 1)).toEqual(["loss"]);
    await type("loss 77", searchBox());
    await settle();
    expect([hits(), state()]).toEqual([["loss 477", "loss 377", "loss 277", "loss 177", "loss 77"], "5 messages"]);
    await press("ArrowUp", {}, searchBox());
    expect(find("[aria-selected=true]").textContent).toContain("loss 77");
    await press("Enter", {}, searchBox());
    await settle();
    expect([marked(), document.activeElement?.getAttribute("data-seq")]).toEqual([["77"], "77"]);
    expect(root.querySelector("[role=search]")).toBeNull();
    await click("Jump to latest");
    expect([marked(), rows().at(-1)?.dataset.seq]).toEqual([[], "500"]);
  });

  it("keeps its words and results, and Escape closes it", async () => {
    await fill();
    await press("f", { ctrlKey: true });
    expect(document.activeElement).toBe(searchBox());
    await type("77", searchBox());
    await settle();
    await press("Escape", {}, searchBox());
    expect(document.activeElement).toBe(button("Search"));
    await click("Search");
    expect([searchBox().value, hits().length]).toEqual(["77", 5]);
  });

  it("says that it found nothing, or why it failed", async () => {
    await fill();
    await search("elephant");
    expect(state()).toBe("No message contains all these words");
    vi.spyOn(source, "search").mockRejectedValue(new RequestError({ code: "x", message: "the log is away" }));
    await type("elephants", searchBox());
    await settle();
    expect(state()).toBe("the log is away");
  });

  it("never shows the results of earlier words", async () => {
    await fill();
    const slow = vi.spyOn(source, "search").mockReturnValueOnce(new Promise((resolve) => setTimeout(resolve, 400, [source.log.get(1)!])));
    await search("loss 1");
    await type("loss 499", searchBox());
    await settle();
    await settle();
    await settle();
    expect([slow.mock.calls.length, hits()]).toEqual([2, ["loss 499"]]);
  });

  it("goes to the first message of a day", async () => {
    await fill();
    await click("Search");
    find<HTMLInputElement>("input[type=date]").value = "1999-12-31";
    await click("Go to date");
    await settle();
    expect(marked()).toEqual(["1"]);
  });
});

describe("a window that was moved to a message", () => {
  const go = async (seq: number): Promise<void> => {
    await search(`loss ${seq}`);
    await press("Enter", {}, searchBox());
    await settle();
  };

  it("does not move when new messages come, and other windows of the room stay where they are", async () => {
    await fill();
    const other = await addView();
    await go(100);
    const before = rows().map(({ dataset }) => dataset.seq);
    await receive(source.log.frame(source.log.append("bob", "new")));
    expect(rows().map(({ dataset }) => dataset.seq)).toEqual(before);
    expect([marked(other), [...other.querySelectorAll<HTMLElement>("[data-seq]")].at(-1)?.dataset.seq]).toEqual([[], "501"]);
    render(null, other);
    other.remove();
  });

  it("shows changes of its messages", async () => {
    await fill();
    await go(100);
    await receive(source.log.frame(source.log.change({ kind: "edit", target: 101, text: "changed" })));
    await receive(source.log.frame(source.log.change({ kind: "react", target: 100, emoji: "👍", on: true })));
    expect(find("[data-seq='101']").textContent).toContain("changed");
    expect(find("[data-seq='100'] .bq-reaction").textContent).toContain("👍");
  });

  it("stays there after a reconnect over a long gap, with what was changed meanwhile", async () => {
    await fill();
    await go(100);
    source.log.change({ kind: "edit", target: 101, text: "changed" });
    for (let number = 0; number < 1_100; number += 1) source.log.append("ada", "more");
    await receive(source.log.hello(true), { type: "gap", from: 500, to: source.log.last, reason: "long" });
    await settle();
    expect(marked()).toEqual(["100"]);
    expect(find("[data-seq='101']").textContent).toContain("changed");
    await act(() => find(".bq-jump").click()); // with the number of new messages in it
    await settle();
    expect(rows().at(-1)?.dataset.seq).toBe(String(source.log.last));
  });
});

describe("a quote", () => {
  it("leads to its message, also to one that is not loaded", async () => {
    await fill();
    await receive(source.log.frame(source.log.append("bob", "that one", 1, { re: 30 })));
    await click("an earlier message");
    await settle();
    expect(marked()).toEqual(["30"]);
  });
});

describe("the address of a message", () => {
  it("is copied from its toolbar", async () => {
    await fill();
    await act(async () => {
      rows().at(-1)!.focus();
      await nextFrame();
    });
    await click("Link to this message");
    expect(await navigator.clipboard.readText()).toBe("http://chat.test/rooms/lobby#m=500");
  });

  it("opens the page there, and a page that is open goes there", async () => {
    location.hash = "#m=42";
    await fill("h1");
    expect(marked()).toEqual(["42"]);
    await act(() => {
      location.hash = "#m=7";
      dispatchEvent(new Event("hashchange"));
    });
    await settle();
    expect(marked()).toEqual(["7"]);
    location.hash = "";
  });
});
