/** Mentions: found while they are written, completed, and found in a message. */

import { describe, expect, it } from "vitest";
import { candidates, mentionAt, mentions, splitMentions } from "../../../src/view/shared/mentions";
import { completeWord } from "../../../src/view/shared/words";

describe("a mention", () => {
  it.each([
    ["@", 1, { start: 0, query: "" }],
    ["hi @ad", 6, { start: 3, query: "ad" }],
    ["(@ad", 4, { start: 1, query: "ad" }],
    ["one\n@ad", 7, { start: 4, query: "ad" }],
    ["hi @ad and more", 6, { start: 3, query: "ad" }],
    ["@ada ", 5, null],
    ["ada@example.org", 15, null],
    ["@ada", 0, null],
    ["@a@b", 4, null],
  ])("in %j at %i", (text, caret, found) => expect(mentionAt(text, caret)).toEqual(found));

  it("matches the start of any word of a name, in any case, unless the name is complete", () => {
    const names = ["Ada Lovelace", "bob", "بسمة", "al-khwarizmi"];
    const match = (query: string): string[] => candidates(names, { start: 0, query });
    expect(match("LOVE")).toEqual(["Ada Lovelace"]);
    expect(match("a")).toEqual(["Ada Lovelace", "al-khwarizmi"]);
    expect(match("khw")).toEqual(["al-khwarizmi"]);
    expect(match("بس")).toEqual(["بسمة"]);
    expect(match("vel")).toEqual([]);
    expect(match("bob")).toEqual([]);
  });

  it("is completed in place, followed by one space", () => {
    expect(completeWord("hi @ad!", { start: 3, query: "ad" }, "@Ada")).toEqual({ text: "hi @Ada !", caret: 8 });
    expect(completeWord("@ad there", { start: 0, query: "ad" }, "@Ada")).toEqual({ text: "@Ada there", caret: 5 });
  });
});

describe("a name is mentioned", () => {
  it.each(["@ada", "hi @Ada!", "(@ADA)", "@ada: look", "@adam and @ada", "thanks, @ada.", "你好，@ada"])("in %j", (text) => {
    expect(mentions(text, "ada")).toBe(true);
  });

  it.each(["ada", "@adam", "me@ada.org", "@ada_2", "@ada-lovelace", "@ada.l", "@ ada", ""])("not in %j", (text) => {
    expect(mentions(text, "ada")).toBe(false);
  });

  it("by a whole name of several words, and never if it is empty", () => {
    expect(mentions("@Ada Lovelace, look", "Ada Lovelace")).toBe(true);
    expect(mentions("@Ada look", "Ada Lovelace")).toBe(false);
    expect(mentions("@ @", "")).toBe(false);
  });
});

describe("the mentions in a text", () => {
  const names = ["Ada Lovelace", "Ada", "bob", "İpek", "c++"];
  it.each([
    ["hi @Ada and @bob!", ["hi ", "@Ada", " and ", "@bob", "!"]],
    ["@ada lovelace, look", ["", "@ada lovelace", ", look"]],
    ["@adam, me@bob.org, @bob_2, @nobody", ["@adam, me@bob.org, @bob_2, @nobody"]],
    ["@BOB", ["", "@BOB", ""]],
    ["@İpek @bob", ["", "@İpek", " ", "@bob", ""]],
    ["你好，@bob。", ["你好，", "@bob", "。"]],
    ["@c++ @", ["", "@c++", " @"]],
    ["none", ["none"]],
  ])("%j: %j", (text, parts) => {
    expect(splitMentions(text, names)).toEqual(parts);
    expect(splitMentions(text, names).join("")).toBe(text);
  });
});
