import { describe, expect, it } from "vitest";
import { candidates, completed, mentionAt } from "../src/view/mention";

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

  it("matches the beginnings of a name's words, in any case; a name written out is done", () => {
    const names = ["Ada Lovelace", "bob", "بسمة", "al-khwarizmi"];
    const match = (query: string): string[] => candidates(names, { start: 0, query });
    expect(match("LOVE")).toEqual(["Ada Lovelace"]);
    expect(match("a")).toEqual(["Ada Lovelace", "al-khwarizmi"]);
    expect(match("khw")).toEqual(["al-khwarizmi"]);
    expect(match("بس")).toEqual(["بسمة"]);
    expect(match("vel")).toEqual([]);
    expect(match("bob")).toEqual([]);
  });

  it("takes the place of what was written, with one blank after it", () => {
    expect(completed("hi @ad!", { start: 3, query: "ad" }, "Ada")).toEqual({ text: "hi @Ada !", caret: 8 });
    expect(completed("@ad there", { start: 0, query: "ad" }, "Ada")).toEqual({ text: "@Ada there", caret: 5 });
  });
});
