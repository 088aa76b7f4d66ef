// @vitest-environment happy-dom
/** The window as a person uses it, by its accessible names. Sizes and scrolling need a real browser. */

import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ClientFrame, Draft, Hello, Message, Part, ServerFrame } from "../../src/protocol/frames";
import { Room } from "../../src/room/room";
import { Refused, type Sink, type Source } from "../../src/transport/source";
import { initial, type Link } from "../../src/model/state";
import { Chat } from "../../src/view/chat";
import { Log } from "../support/fake-log";

/** A source that a test speaks through; it keeps what the window sends. */
class Script implements Source {
  readonly sent: ClientFrame[] = [];
  readonly room = new Log();
  sink!: Sink;

  start(sink: Sink): void {
    this.sink = sink;
  }

  send(frame: ClientFrame): boolean {
    this.sent.push(frame);
    return true;
  }

  resume(): void {
    const { after, epoch } = this.sink.cursor();
    this.sink.take(this.room.replay(after, epoch));
  }

  page(before: number | null, limit: number): Promise<Message[]> {
    return Promise.resolve(this.room.folded().filter(({ seq }) => before === null || seq < before).slice(-limit));
  }

  log(): Promise<never> {
    return Promise.reject(new Error("not in this test"));
  }

  /** What is kept in it, by its hash. */
  readonly parts = new Map<string, Blob>();

  fetchPart({ sha256 }: Part): Promise<Blob> {
    const blob = this.parts.get(sha256);
    return blob ? Promise.resolve(blob) : Promise.reject(new Refused({ code: "no_part", message: "it is not there" }));
  }

  putPart(file: Blob, mime: string): Promise<Part> {
    const sha256 = String(this.parts.size).padStart(64, "0");
    this.parts.set(sha256, file);
    return Promise.resolve({ mime, sha256, size: file.size });
  }

  stop(): void {
    this.sent.length = 0;
  }

  drafts(): Draft[] {
    return this.sent.filter((frame): frame is Draft => "cid" in frame);
  }
}

let script: Script;
let room: Room;
let root: HTMLElement;
/** Keys that reached the notebook around the window. */
let leaked: string[];
let listening: AbortController;

const frame = (): Promise<void> => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
const hear = (...frames: ServerFrame[]): Promise<void> =>
  act(async () => {
    script.sink.take(frames);
    await frame();
    await frame();
  });
const link = (word: Link): Promise<void> =>
  act(async () => {
    script.sink.take([{ type: "link", link: word }]);
    await frame();
  });
const say = (user: string, text: string, extra: Partial<Message> = {}): Promise<void> =>
  hear(script.room.frame(script.room.say(user, text, 1, extra)));
const status = (word: "open" | "closed", message?: string): ServerFrame => ({
  type: "status",
  status: word,
  error: message === undefined ? null : { code: "x", message },
  retry_at: null,
  queued: 0,
});

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as querySelector has it
function find<T extends HTMLElement>(selector: string): T {
  const found = root.querySelector<T>(selector);
  if (found === null) throw new Error(`no ${selector} in ${root.textContent}`);
  return found;
}
const box = (): HTMLTextAreaElement => find("textarea[aria-label=Message]");
const rows = (): HTMLElement[] => [...root.querySelectorAll<HTMLElement>("ol[aria-label=Messages] > li")];
const button = (name: string): HTMLButtonElement => {
  const found = [...root.querySelectorAll("button")].find(
    (each) => (each.getAttribute("aria-label") ?? each.textContent.trim()) === name,
  );
  if (found === undefined) throw new Error(`no button ${name}`);
  return found;
};
const words = (): string => find("[role=status]").textContent;

function type(text: string, into: HTMLTextAreaElement | HTMLInputElement = box()): Promise<void> {
  return act(async () => {
    into.value = text;
    into.dispatchEvent(new Event("input", { bubbles: true }));
    await frame();
  });
}
function press(key: string, init: KeyboardEventInit = {}, on: HTMLElement = box()): Promise<void> {
  return act(async () => {
    on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...init }));
    await frame();
  });
}
const click = (name: string): Promise<void> =>
  act(async () => {
    button(name).click();
    await frame();
  });

async function open(user = "me", link?: string): Promise<void> {
  script = new Script();
  room = new Room(script, initial("lobby", user));
  root = document.body.appendChild(document.createElement("div"));
  await act(() => render(<Chat room={room} given={user} {...(link !== undefined && { link })} />, root));
  room.start();
  await hear(status("open"), script.room.hello(false));
}

function close(): void {
  render(null, root);
  room.stop();
  root.remove();
}

beforeEach(async () => {
  localStorage.clear();
  sessionStorage.clear();
  leaked = [];
  listening = new AbortController();
  document.body.addEventListener("keydown", ({ key }) => leaked.push(key), { signal: listening.signal });
  await open();
});

afterEach(() => {
  close();
  listening.abort();
});

describe("names that tests and screen readers use", () => {
  it("are there", async () => {
    await say("ada", "hello");
    expect(find("section").getAttribute("aria-label")).toBe("Chat room lobby");
    expect(rows().map(({ dataset }) => dataset.seq)).toEqual(["1"]);
    expect(find<HTMLInputElement>("input[aria-label='Your name']").value).toBe("me");
    expect(button("Send").type).toBe("submit");
    expect(words()).toBe("Connected");
    expect(find("section").dataset.lmSuppressShortcuts).toBe("true");
    expect(root.querySelectorAll("[role=status]")).toHaveLength(1);
  });
});

describe("writing", () => {
  it("Enter sends and empties the box; Shift+Enter does not", async () => {
    await type("hi");
    await press("Enter", { shiftKey: true });
    expect(script.drafts()).toEqual([]);
    await press("Enter");
    expect(script.drafts()).toMatchObject([{ type: "chat.send", user: "me", text: "hi" }]);
    expect(box().value).toBe("");
    expect(rows().at(-1)?.textContent).toContain("Sending…");
  });

  it("Enter that ends a composition never sends", async () => {
    await type("にほん");
    await press("Enter", { isComposing: true });
    await press("Enter", { keyCode: 229 });
    expect(script.drafts()).toEqual([]);
    expect(box().value).toBe("にほん");
  });

  it("nothing but blanks is not sent", async () => {
    await type(" \n ");
    await press("Enter");
    expect(script.drafts()).toEqual([]);
  });

  it("too much is not sent, and says by how much: code points, as the server counts", async () => {
    await type("🦊".repeat(16_000));
    expect(root.textContent).not.toContain("too many");
    await type("🦊".repeat(16_002));
    await press("Enter");
    expect(script.drafts()).toEqual([]);
    expect(find("[role=alert]").textContent).toContain("2 characters too many");
  });

  it("no key leaves the window", async () => {
    for (const key of ["d", "Enter", "Escape", "ArrowUp"]) await press(key);
    expect(leaked).toEqual([]);
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "x" }));
    expect(leaked).toEqual(["x"]);
  });

  it("but saving does: once, and without the browser's own dialog", async () => {
    const saving = new KeyboardEvent("keydown", { key: "s", code: "KeyS", ctrlKey: true, bubbles: true, cancelable: true });
    await act(() => void box().dispatchEvent(saving));
    expect(leaked).toEqual(["s"]);
    expect(saving.defaultPrevented).toBe(true);
    await press("s");
    expect(leaked).toEqual(["s"]);
  });

  it("the draft outlives the window", async () => {
    await type("half a thou");
    close();
    await open();
    expect(box().value).toBe("half a thou");
  });

  it("a name is asked for, and remembered", async () => {
    const name = (): HTMLInputElement => find("input[aria-label='Your name']");
    await type("", name());
    await type("hi");
    await press("Enter");
    expect(script.drafts()).toEqual([]);
    expect(document.activeElement).toBe(name());
    expect(find("[role=alert]").textContent).toContain("Write your name first");
    await type("grace", name());
    await press("Enter");
    expect(script.drafts()).toMatchObject([{ user: "grace" }]);
    expect(localStorage.getItem("bqwidget:name:me")).toBe("grace");
  });
});

describe("delivery", () => {
  const refuse = (): Promise<void> =>
    hear({ type: "error", code: "muted", message: "You are muted", cid: script.drafts()[0]!.cid });

  it("a message that arrives is marked as sent, in place of its draft", async () => {
    await type("hi");
    await press("Enter");
    await say("me", "hi", { cid: script.drafts()[0]!.cid });
    expect(rows()).toHaveLength(1);
    expect(rows()[0]?.textContent).toContain("Sent");
  });

  it("one that is refused says why, comes back into the box, and Retry sends it under its cid", async () => {
    await type("hi");
    await press("Enter");
    await refuse();
    expect(rows()[0]?.textContent).toContain("Not sent: You are muted");
    expect(box().value).toBe("hi");
    await click("Retry");
    expect(script.drafts().map(({ cid }) => cid)).toEqual([script.drafts()[0]!.cid, script.drafts()[0]!.cid]);
    await say("me", "hi", { cid: script.drafts()[0]!.cid });
    expect(box().value).toBe("");
    expect(rows()).toHaveLength(1);
  });

  it("one that came too fast says so, and waits to be sent again", async () => {
    await type("hi");
    await press("Enter");
    const [{ cid }] = script.drafts() as [Draft];
    await hear({ type: "error", code: "rate", message: "20 messages in 10 s: wait 3 s", cid, retry_ms: 60_000 });
    expect(rows()[0]?.textContent).toContain("Sending…");
    expect(rows()[0]?.textContent).toContain("20 messages in 10 s: wait 3 s");
    expect(box().value).toBe("");
  });

  it("the same text sent again is the same message", async () => {
    await type("hi");
    await press("Enter");
    await refuse();
    await press("Enter");
    expect(new Set(script.drafts().map(({ cid }) => cid)).size).toBe(1);
    expect(rows()).toHaveLength(1);
    expect(box().value).toBe("");
  });

  it("what was typed meanwhile is not overwritten", async () => {
    await type("hi");
    await press("Enter");
    await type("something else");
    await refuse();
    expect(box().value).toBe("something else");
  });

  it("where the kernel is gone the text stays, and it says what to do", async () => {
    await link("gone");
    expect(words()).toBe("Disconnected: run the cell again");
    await type("hi");
    await press("Enter");
    expect(box().value).toBe("hi");
    expect(rows()).toEqual([]);
    expect(find("[role=alert]").textContent).toContain("your text is kept");
  });
});

describe("the connection in words", () => {
  it("busy kernel, offline with a countdown, closed with the reason", async () => {
    await link("busy");
    expect(words()).toBe("Kernel busy, queued");
    await link("ok");
    await hear({ type: "status", status: "reconnecting", error: null, retry_at: Date.now() + 4_000, queued: 0 });
    expect(words()).toBe("Offline · next try in 4 s");
    expect(find("[role=status] [aria-hidden=true]:last-child").textContent).toContain("4 s");
    await hear(status("closed", "You may not be in this room"));
    expect(words()).toBe("You may not be in this room");
  });
});

describe("reading", () => {
  it("a stranger's markup is text everywhere", async () => {
    const evil = "<img src=x onerror=alert(1)>";
    await say(evil, evil, { re: 1, ask: { choices: [evil], from: evil }, parts: [{ mime: evil, sha256: "0", size: 1 }] });
    await say("ada", "reply", { re: 1 });
    await hear({ type: "error", code: "x", message: evil }, { type: "presence", members: [{ user: evil, typing: true }] });
    expect(root.querySelectorAll("img, script, iframe, object, embed, [onerror]")).toHaveLength(0);
    expect(root.textContent.split(evil).length).toBeGreaterThan(5);
  });

  it("messages of one author stand together; edits, deletions and reactions show", async () => {
    await say("ada", "one");
    await say("ada", "two");
    await hear(
      script.room.frame(script.room.change({ kind: "edit", target: 1, text: "one, edited" })),
      script.room.frame(script.room.change({ kind: "delete", target: 2 })),
      script.room.frame(script.room.change({ kind: "react", target: 1, emoji: "👍", on: true })),
    );
    expect(rows().map((row) => row.classList.contains("bq-first"))).toEqual([true, false]);
    expect(rows()[0]?.textContent).toContain("one, edited");
    expect(rows()[1]?.textContent).toContain("This message was deleted");
    await click("👍 1: ada");
    expect(script.drafts()).toMatchObject([{ type: "chat.react", target: 1, emoji: "👍", on: true }]);
  });

  it("only the last rows of many are in the DOM", async () => {
    const many = Array.from({ length: 1_000 }, (_, index) => script.room.frame(script.room.say("ada", `m${index}`)));
    await hear(...many);
    expect(rows().length).toBeLessThanOrEqual(80);
    expect(rows().at(-1)?.dataset.seq).toBe("1000");
  });

  it("while they flood in only those that fit into view, and the others when it is calm again", async () => {
    await say("ada", "before");
    const flood = (): Promise<void> =>
      hear(...Array.from({ length: 100 }, (_, index) => script.room.frame(script.room.say("ada", `m${index}`))));
    await flood();
    await flood();
    expect(rows().length).toBeLessThan(10); // of a window without height
    expect(rows().at(-1)?.dataset.seq).toBe("201");
    await vi.waitFor(() => expect(rows()).toHaveLength(80));
  });
});

describe("a question", () => {
  it("is answered by a click, once, and says by whom", async () => {
    await say("trainer", "Continue?", { ask: { choices: ["yes", "no"] } });
    await click("yes");
    expect(script.drafts()).toMatchObject([{ text: "yes", re: 1, choice: "yes" }]);
    expect(button("no").disabled).toBe(true);
    await say("ada", "no", { re: 1, choice: "no" });
    await say("me", "yes", { re: 1, choice: "yes", cid: script.drafts()[0]!.cid });
    expect(rows()[0]?.textContent).toContain("ada answered: no");
    expect(rows()[0]?.querySelector(".bq-choice")).toBeNull();
    expect(rows()[2]?.textContent).toContain("already answered");
  });

  it("without choices is answered in words", async () => {
    await say("trainer", "Which label?", { ask: {} });
    await type("cat", find<HTMLInputElement>("input[aria-label='Your answer']"));
    await click("Answer");
    expect(script.drafts()).toMatchObject([{ text: "cat", re: 1 }]);
    expect(script.drafts()[0]).not.toHaveProperty("choice");
  });

  it("for somebody else can't be answered here", async () => {
    await say("trainer", "Continue?", { ask: { choices: ["yes"], from: "ada" } });
    expect(button("yes").disabled).toBe(true);
    expect(rows()[0]?.textContent).toContain("Only ada may answer");
  });

  it("that ended is marked, and so is an answer after it", async () => {
    await say("trainer", "Continue?", { ask: { choices: ["yes"] } });
    await hear(script.room.frame(script.room.change({ kind: "expire", target: 1, at: Date.now() + 5_000 })));
    expect(rows()[0]?.textContent).toContain("Expired without an answer"); // the server's clock may be ahead
    await say("ada", "yes", { re: 1, choice: "yes" });
    expect(rows()[1]?.textContent).toContain("late answer");
  });
});

describe("ArrowUp in the empty box", () => {
  it("edits one's last words, past others' and what is deleted or an answer", async () => {
    await say("me", "first");
    await say("me", "second");
    await say("me", "third");
    await say("trainer", "Continue?", { ask: { choices: ["yes"] } });
    await say("me", "yes", { re: 4, choice: "yes" });
    await hear(script.room.frame(script.room.change({ kind: "delete", target: 3 })));
    await press("ArrowUp");
    expect(box().value).toBe("second");
    await type("second, better");
    await press("Enter");
    expect(script.drafts()).toMatchObject([{ type: "chat.edit", target: 2, text: "second, better" }]);
    expect(box().value).toBe("");
  });

  it("moves the caret where something is written, and does nothing where one said nothing", async () => {
    await say("ada", "theirs");
    await press("ArrowUp");
    await say("me", "mine");
    await type("a draft");
    await press("ArrowUp");
    expect(root.querySelector(".bq-mode")).toBeNull();
    expect(box().value).toBe("a draft");
  });
});

describe("@mentions", () => {
  const options = (): string[] => [...root.querySelectorAll("[role=option]")].map((each) => each.querySelector("[dir]")!.textContent);
  const chosen = (): string | undefined => root.querySelector(`#${box().getAttribute("aria-activedescendant")} [dir]`)?.textContent;
  const people = (...users: string[]): Promise<void> =>
    hear({ type: "presence", members: ["me", ...users].map((user) => ({ user })) });

  it("offers who is here and who spoke, and puts the chosen name in by keyboard", async () => {
    await people("bob", "Ada Lovelace");
    await say("alan", "hi");
    await type("hi @");
    expect(options()).toEqual(["bob", "Ada Lovelace", "alan"]);
    await type("hi @lov");
    expect(options()).toEqual(["Ada Lovelace"]);
    await type("hi @A");
    expect(chosen()).toBe("Ada Lovelace");
    await press("ArrowDown");
    expect(chosen()).toBe("alan");
    await press("ArrowUp");
    await press("Enter");
    expect(box().value).toBe("hi @Ada Lovelace ");
    expect(options()).toEqual([]);
    expect(box().hasAttribute("aria-activedescendant")).toBe(false);
    expect(script.drafts()).toEqual([]);
    await press("Enter");
    expect(script.drafts()).toMatchObject([{ text: "hi @Ada Lovelace " }]);
  });

  it("Escape closes the list until the next @, and keeps the text", async () => {
    await people("bob");
    await type("@b");
    await press("Escape");
    await type("@bo");
    expect(options()).toEqual([]);
    await type("@bo @");
    expect(options()).toEqual(["bob"]);
    await press("Tab");
    expect(box().value).toBe("@bo @bob ");
  });

  it("a name that is written out is sent by Enter", async () => {
    await people("bob");
    await type("@bob");
    await press("Enter");
    expect(script.drafts()).toMatchObject([{ text: "@bob" }]);
  });
});

describe("a message that names the reader", () => {
  const marked = (): boolean[] => rows().map((row) => row.querySelector(".bq-mentioned") !== null);

  it("stands out, and says so to those who don't see it", async () => {
    await say("ada", "look, @me!");
    await say("ada", "look, @bob!");
    await say("me", "I am @me");
    expect(marked()).toEqual([true, false, false]);
    expect(rows()[0]?.textContent).toContain("mentions you");
    await hear({ ...(script.room.hello(true) as Hello), user: "bob" });
    expect(marked()).toEqual([false, true, false]);
  });
});

describe("who is here", () => {
  it("opens into names, and says what kernels do", async () => {
    await hear({
      type: "presence",
      members: [{ user: "ada", typing: true }, { user: "trainer", kind: "kernel", busy: true }, { user: "k2", kind: "kernel" }],
    });
    const count = find<HTMLButtonElement>(".bq-members button");
    expect(count.textContent).toBe("3 herekernel busy");
    await act(() => count.click());
    const names = (): string[] => [...root.querySelectorAll(".bq-people li")].map((each) => each.textContent);
    expect(names()).toEqual(["Aadatyping…", "Ttrainerbusy", "Kk2idle"]);
    await press("Escape", {}, find(".bq-people"));
    expect(names()).toEqual([]);
    expect(document.activeElement).toBe(count);
  });
});

describe("a room that is closed", () => {
  it("no longer says who is there", async () => {
    await hear({ type: "presence", members: [{ user: "ada" }] });
    expect(find(".bq-header").textContent).toContain("1 here");
    await hear(status("closed"));
    expect(find(".bq-header").textContent).not.toContain("here");
  });
});

describe("who is typing", () => {
  it("is somebody else, under whatever name the server knows us", async () => {
    await hear({ ...(script.room.hello(true) as Hello), user: "bob" });
    await hear({ type: "presence", members: [{ user: "ada", typing: true }, { user: "bob", typing: true }] });
    expect(find(".bq-typing").textContent).toBe("ada is typing…");
  });
});

describe("the link to share", () => {
  it("is copied, or shown where copying is not allowed; a notebook has none", async () => {
    expect(() => button("Copy link")).toThrow();
    close();
    await open("me", "http://127.0.0.1:1/rooms/lobby");
    await navigator.clipboard.writeText("");
    await click("Copy link");
    expect(await navigator.clipboard.readText()).toBe("http://127.0.0.1:1/rooms/lobby");
    expect(button("Copied")).toBeDefined();
    const refusing = vi.spyOn(navigator.clipboard, "writeText").mockRejectedValue(new Error("not allowed"));
    await click("Copied");
    refusing.mockRestore();
    expect(find<HTMLInputElement>(".bq-address").value).toBe("http://127.0.0.1:1/rooms/lobby");
  });
});

describe("a message's actions", () => {
  const point = (seq: number): Promise<void> =>
    act(async () => {
      find(`[data-seq="${seq}"] .bq-bubble`).dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
      await frame();
    });

  it("reply quotes, and goes out with `re`", async () => {
    await say("ada", "original");
    await point(1);
    await click("Reply");
    expect(root.textContent).toContain("Replying to ada");
    await type("answer");
    await press("Enter");
    expect(script.drafts()).toMatchObject([{ type: "chat.send", text: "answer", re: 1 }]);
    expect(root.textContent).not.toContain("Replying to ada");
  });

  it("edit fills the box and gives the draft back", async () => {
    await say("me", "tpyo");
    await type("a draft");
    await point(1);
    await click("Edit");
    expect(box().value).toBe("tpyo");
    await type("typo");
    await press("Enter");
    expect(script.drafts()).toMatchObject([{ type: "chat.edit", target: 1, text: "typo" }]);
    expect(box().value).toBe("a draft");
  });

  it("Escape leaves an edit as it was", async () => {
    await say("me", "text");
    await point(1);
    await click("Edit");
    await type("other");
    await press("Escape");
    expect(box().value).toBe("");
    expect(script.drafts()).toEqual([]);
  });

  it("delete and react are sent; others' messages can't be edited", async () => {
    await say("ada", "theirs");
    await say("me", "mine");
    await point(1);
    expect(() => button("Edit")).toThrow();
    await click("React");
    await click("🎉");
    await point(2);
    await click("Delete");
    expect(script.drafts()).toMatchObject([
      { type: "chat.react", target: 1, emoji: "🎉", on: true },
      { type: "chat.delete", target: 2 },
    ]);
  });
});
