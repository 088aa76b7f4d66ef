// @vitest-environment happy-dom
/** Questions and polls in the list of messages. */

import { describe, expect, it } from "vitest";
import type { Message } from "../../../src/protocol/entries";
import {
  button,
  click,
  find,
  receive,
  receiveMessage,
  root,
  rows,
  source,
  type,
  useChatWindow,
} from "../../support/chat-window";

useChatWindow();

describe("a question", () => {
  it("is answered by one click, and shows who answered", async () => {
    await receiveMessage("trainer", "Continue?", { ask: { choices: ["yes", "no"] } });
    await click("yes");
    expect(source.drafts()).toMatchObject([{ text: "yes", re: 1, choice: "yes" }]);
    expect(button("no").disabled).toBe(true);
    await receiveMessage("ada", "no", { re: 1, choice: "no" });
    await receiveMessage("me", "yes", { re: 1, choice: "yes", cid: source.drafts()[0]!.cid });
    expect(rows()[0]?.textContent).toContain("ada answered: no");
    expect(rows()[0]?.querySelector(".bq-choice")).toBeNull();
    expect(rows()[2]?.textContent).toContain("already answered");
  });

  it("without choices is answered with a text", async () => {
    await receiveMessage("trainer", "Which label?", { ask: {} });
    await type("cat", find<HTMLInputElement>("input[aria-label='Your answer']"));
    await click("Answer");
    expect(source.drafts()).toMatchObject([{ text: "cat", re: 1 }]);
    expect(source.drafts()[0]).not.toHaveProperty("choice");
  });

  it("for another user cannot be answered", async () => {
    await receiveMessage("trainer", "Continue?", { ask: { choices: ["yes"], from: "ada" } });
    expect(button("yes").disabled).toBe(true);
    expect(rows()[0]?.textContent).toContain("Only ada can answer");
  });

  it("that expired is marked, and so is a late answer", async () => {
    await receiveMessage("trainer", "Continue?", { ask: { choices: ["yes"] } });
    await receive(source.log.frame(source.log.change({ kind: "expire", target: 1, at: Date.now() + 5_000 })));
    expect(rows()[0]?.textContent).toContain("Expired without an answer"); // the server's clock may be ahead
    await receiveMessage("ada", "yes", { re: 1, choice: "yes" });
    expect(rows()[1]?.textContent).toContain("late answer");
  });

  it("that was answered is one line, which opens if it is long", async () => {
    const long = `Continue ${"and so on ".repeat(20)}?\n\nThis is the **rest**.`;
    await receiveMessage("trainer", "Short?", { ask: {} });
    await receiveMessage("ada", "yes", { re: 1 });
    expect(() => button("Show all")).toThrow();
    await receiveMessage("trainer", long, { ask: {} });
    await receiveMessage("ada", "no\n".repeat(50), { re: 3 });
    expect(rows()[2]?.textContent).toContain("ada answered: no…");
    expect(rows()[2]?.textContent).not.toContain("rest");
    await click("Show all");
    expect(rows()[2]?.textContent).toContain("no\nno\nno");
    expect(rows()[2]?.querySelector("strong")?.textContent).toBe("rest");
    expect(button("Show less").getAttribute("aria-expanded")).toBe("true");
  });
});


describe("a poll", () => {
  const ask = (more: Partial<NonNullable<Message["ask"]>> = {}): Promise<void> =>
    receiveMessage("trainer", "Which?", { ask: { choices: ["cat", "dog"], poll: true, ...more } });
  const vote = (user: string, choice: string, more: { cid?: string; target?: number } = {}): Promise<void> =>
    receive(source.log.frame(source.log.change({ kind: "vote", target: 1, user, choice, ...more })));
  /** Of each choice: its text, the votes and the voters. */
  const tally = (): string[] => [...root.querySelectorAll(".bq-poll li")].map((each) => each.textContent);
  const pressed = (name: string): string | null => button(name).getAttribute("aria-pressed");

  it("shows who voted for what as the votes arrive", async () => {
    await ask();
    expect(tally()).toEqual(["cat", "dog"]);
    await vote("ada", "cat");
    await vote("bob", "cat");
    await vote("ada", "dog");
    expect(tally()).toEqual(["cat1 votebob", "dog1 voteada"]);
    expect([pressed("cat"), pressed("dog")]).toEqual(["false", "false"]);
    expect(rows()[0]?.textContent).toContain("2 votes");
  });

  it("counts the reader's vote at once, and the last of several", async () => {
    await ask();
    await click("cat");
    expect(source.drafts()).toMatchObject([{ type: "chat.vote", user: "me", target: 1, choice: "cat" }]);
    expect(pressed("cat")).toBe("true");
    expect(tally()).toEqual(["cat1 voteme", "dog"]);
    await click("cat");
    expect(source.drafts()).toHaveLength(1);
    await vote("me", "cat", { cid: source.drafts()[0]!.cid });
    await click("dog");
    expect(tally()).toEqual(["cat", "dog1 voteme"]);
    await vote("me", "dog", { cid: source.drafts()[1]!.cid });
    expect([pressed("cat"), pressed("dog")]).toEqual(["false", "true"]);
  });

  it("takes a vote back that was rejected, and says why", async () => {
    await ask();
    await vote("me", "cat");
    await click("dog");
    await receive({ type: "error", code: "muted", message: "You are muted", cid: source.drafts()[0]!.cid });
    expect([pressed("cat"), pressed("dog")]).toEqual(["true", "false"]);
    expect(find("[role=alert]").textContent).toContain("Vote not counted: You are muted");
    expect(rows()).toHaveLength(1);
    await click("Retry");
    expect(pressed("dog")).toBe("true");
    expect(root.querySelector("[role=alert]")).toBeNull();
    await receive({ type: "error", code: "muted", message: "You are muted", cid: source.drafts()[1]!.cid });
    await click("Discard");
    expect(root.querySelector("[role=alert]")).toBeNull();
  });

  it("is open to those it asks only, and ends when all of them have voted", async () => {
    await ask({ from: ["ada", "bob"] });
    expect(button("cat").disabled).toBe(true);
    expect(rows()[0]?.textContent).toContain("0 of 2 voted · Only ada, bob can vote");
    await vote("ada", "cat");
    await vote("eve", "cat");
    await vote("bob", "cat");
    expect(() => button("cat")).toThrow();
    expect(tally()).toEqual(["cat2 votesada, bob", "dog"]);
    expect(rows()[0]?.textContent).toContain("All have voted · 2 votes");
  });

  it("that has ended shows one line for each choice, the reader's vote, and why it ended", async () => {
    await ask();
    await vote("me", "dog");
    await receive(source.log.frame(source.log.change({ kind: "expire", target: 1 })));
    expect(root.querySelectorAll(".bq-option[aria-pressed]")).toHaveLength(0);
    expect(tally()).toEqual(["cat", "dog your vote1 voteme"]);
    expect(find(".bq-leads").textContent).toContain("dog");
    expect(rows()[0]?.textContent).toContain("Voting was closed");
    source.log.append("trainer", "Over?", 1, { ask: { choices: ["yes"], poll: true, expires: Date.now() - 1 } });
    await receive(source.log.frame(source.log.entries.at(-1)!));
    expect(rows()[1]?.textContent).toContain("Voting has ended");
    expect(() => button("yes")).toThrow();
  });

  it("names all voters on request", async () => {
    await ask();
    for (const user of ["a", "b", "c", "d", "e"]) await vote(user, "cat");
    expect(tally()[0]).toBe("cat5 votesa, b, c +2");
    await click("Show who voted");
    expect(tally()[0]).toBe("cat5 votesa, b, c, d, e");
  });

  it("has choices with any name", async () => {
    await ask({ choices: ["__proto__", "constructor"] });
    await vote("ada", "__proto__");
    expect(tally()).toEqual(["__proto__1 voteada", "constructor"]);
    await click("constructor");
    expect(tally()[1]).toBe("constructor1 voteme");
  });
});
