import { describe, expect, it } from "vitest";
import { codePoints, cut, wellFormed } from "../../../src/view/shared/text";
import { candidates, completed, mentionAt, mentions } from "../../../src/view/shared/mentions";

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

describe("somebody is named", () => {
  it.each(["@ada", "hi @Ada!", "(@ADA)", "@ada: look", "@adam and @ada", "thanks, @ada.", "你好，@ada"])("in %j", (text) => {
    expect(mentions(text, "ada")).toBe(true);
  });

  it.each(["ada", "@adam", "me@ada.org", "@ada_2", "@ada-lovelace", "@ada.l", "@ ada", ""])("not in %j", (text) => {
    expect(mentions(text, "ada")).toBe(false);
  });

  it("by a whole name of several words, and never where they have none", () => {
    expect(mentions("@Ada Lovelace, look", "Ada Lovelace")).toBe(true);
    expect(mentions("@Ada look", "Ada Lovelace")).toBe(false);
    expect(mentions("@ @", "")).toBe(false);
  });
});

describe("text", () => {
  it("is counted and cut by whole characters, as the server counts", () => {
    expect(codePoints("a🦊b")).toBe(3);
    expect(cut("🦊🦊🦊", 2)).toBe("🦊🦊…");
    expect(cut("🦊🦊", 2)).toBe("🦊🦊");
    expect(cut("short", 5)).toBe("short");
    expect(cut("longer", 5)).toBe("longe…");
  });

  it("has no half characters when it is sent", () => {
    expect(wellFormed("a\ud83eb\udd8a🦊")).toBe("a\ufffdb\ufffd🦊");
  });
});
