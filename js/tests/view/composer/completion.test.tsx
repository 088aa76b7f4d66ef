// @vitest-environment happy-dom
/** The composer's lists: names after `@`, commands after `/`, emoji after `:`. */

import { describe, expect, it } from "vitest";
import {
  box,
  button,
  click,
  find,
  leakedKeys,
  press,
  receive,
  receiveMessage,
  root,
  source,
  type,
  useChatWindow,
} from "../../support/chat-window";

useChatWindow();

describe("@mentions", () => {
  const options = (): string[] => [...root.querySelectorAll("[role=option]")].map((each) => each.querySelector("[dir]")!.textContent);
  const chosen = (): string | undefined => root.querySelector(`#${box().getAttribute("aria-activedescendant")} [dir]`)?.textContent;
  const people = (...users: string[]): Promise<void> =>
    receive({ type: "presence", members: ["me", ...users].map((user) => ({ user })) });

  it("offer members and recent authors, and complete the selected name by keyboard", async () => {
    await people("bob", "Ada Lovelace");
    await receiveMessage("alan", "hi");
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
    expect(source.drafts()).toEqual([]);
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ text: "hi @Ada Lovelace " }]);
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

  it("a complete name is sent by Enter", async () => {
    await people("bob");
    await type("@bob");
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ text: "@bob" }]);
  });
});

describe(":emoji:", () => {
  const options = (): string[] => [...root.querySelectorAll("[role=option]")].map((each) => each.textContent.trim());

  it("are offered by name after two letters, and completed by keyboard or their last colon", async () => {
    await type("well done :p");
    expect(options()).toEqual([]);
    await type("well done :party");
    expect(options()).toEqual(["🥳 :partying_face:"]);
    expect(find("[role=listbox]").getAttribute("aria-label")).toBe("Emoji");
    await press("Enter");
    expect(box().value).toBe("well done 🥳 ");
    await type(":thumbsup");
    expect(options()).toEqual(["👍 :+1: :thumbsup:"]);
    await press(":");
    expect(box().value).toBe("👍 ");
    expect(source.drafts()).toEqual([]);
    expect(leakedKeys).toEqual([]);
  });

  it.each([":)", ":D", "at 12:30", "x[:end]", "`:ref`", "https://a", ":param", "a :: b", "std::tada"])("leave %s as typed", async (text) => {
    await type(text);
    expect(options()).toEqual([]);
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ text }]);
  });

  it("an incomplete name keeps its colon", async () => {
    await type(":tad");
    await press(":");
    expect(box().value).toBe(":tad");
  });
});

describe("/commands", () => {
  const options = (): string[] => [...root.querySelectorAll("[role=option] code")].map((each) => each.textContent);
  const chosen = (): string | undefined => root.querySelector(`#${box().getAttribute("aria-activedescendant")} code`)?.textContent;
  const offer = (...commands: { name: string; usage?: string; help?: string }[]): Promise<void> =>
    receive({ type: "presence", members: [{ user: "me" }, { user: "bot", kind: "kernel", commands }] });
  const MEAN = { name: "mean", usage: "/mean NUMBERS...", help: "The mean of numbers." };

  it("are offered with usage and help, and completed by keyboard; the usage stays visible", async () => {
    await offer(MEAN, { name: "median" }, { name: "sum" });
    await type("/");
    expect(options()).toEqual(["/help", "/mean NUMBERS...", "/median", "/sum"]);
    expect(find("[role=listbox]").getAttribute("aria-label")).toBe("Commands");
    expect(find(`#${box().getAttribute("aria-controls")}`)).toBe(find("[role=listbox]"));
    expect(find("[role=listbox]").textContent).toContain("The mean of numbers.");
    await press("ArrowDown");
    expect(chosen()).toBe("/mean NUMBERS...");
    await press("ArrowUp");
    await press("ArrowUp");
    expect(chosen()).toBe("/sum");
    await type("/me");
    expect(chosen()).toBe("/mean NUMBERS...");
    await press("Tab");
    expect(box().value).toBe("/mean ");
    expect(options()).toEqual([]);
    expect(root.querySelector(`#${box().getAttribute("aria-describedby")}`)?.textContent).toContain("The mean of numbers.");
    await type("/mean 3 4 8");
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ type: "chat.send", text: "/mean 3 4 8" }]);
    expect(leakedKeys).toEqual([]);
  });

  it("Escape closes the list, and keeps the text and the reply", async () => {
    await offer(MEAN);
    await type("/m");
    await press("Escape");
    expect(options()).toEqual([]);
    await type("/me");
    expect(options()).toEqual([]);
    expect(box().value).toBe("/me");
    expect(leakedKeys).toEqual([]);
  });

  it("open their list also where that of a name was closed", async () => {
    await offer(MEAN);
    await type("@");
    await press("Escape");
    await type("/");
    expect(options()).toEqual(["/help", "/mean NUMBERS..."]);
  });

  it("that no member offers are not sent, but can be sent as text", async () => {
    await offer(MEAN);
    await type("/maen 3 4");
    await press("Enter");
    expect(source.drafts()).toEqual([]);
    expect(box().value).toBe("/maen 3 4");
    expect(find("[role=alert]").textContent).toContain("No member offers /maen");
    await type("/maen 3");
    expect(root.querySelector("[role=alert]")).toBeNull();
    await press("Enter");
    await click("Send as text");
    expect(source.drafts()).toMatchObject([{ text: "/maen 3" }]);
    expect(box().value).toBe("");
    expect(document.activeElement).toBe(box());
  });

  it("that a member begins to offer can be sent", async () => {
    await type("/mean 3");
    await press("Enter");
    expect(button("Send as text")).toBeDefined();
    await offer(MEAN);
    expect(root.querySelector("[role=alert]")).toBeNull();
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ text: "/mean 3" }]);
  });

  it("are not looked for in paths and edits", async () => {
    await offer(MEAN);
    await type("/usr/bin/env");
    await press("Enter");
    await receiveMessage("me", "x", { cid: source.drafts()[0]!.cid });
    await press("ArrowUp");
    await type("/x");
    expect(options()).toEqual([]);
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ text: "/usr/bin/env" }, { type: "chat.edit", text: "/x" }]);
  });

  it("/help is sent if any member offers commands", async () => {
    await offer(MEAN);
    await type("/help");
    expect(options()).toEqual([]);
    await press("Enter");
    expect(source.drafts()).toMatchObject([{ text: "/help" }]);
  });
});
