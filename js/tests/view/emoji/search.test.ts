/** The table of emoji, and finding one. */

import { describe, expect, it } from "vitest";
import { EMOJI, findEmoji } from "../../../src/view/emoji/search";

const found = (query: string): string[] => findEmoji(query).map(({ emoji }) => emoji);

describe("emoji", () => {
  it("have names as in :name:, each of one emoji", () => {
    const names = EMOJI.flatMap((each) => each.names);
    expect(EMOJI.length).toBeGreaterThan(800);
    expect(new Set(names).size).toBe(names.length);
    for (const { emoji, names } of EMOJI) {
      expect(emoji).toMatch(new RegExp("^\\p{RGI_Emoji}$", "v"));
      for (const name of names) expect(name).toMatch(/^[a-z0-9_+-]{1,26}$/);
    }
  });

  it("are found by the whole name first, then by its beginning, then by a word of it", () => {
    expect(found("+1")).toEqual(["👍"]);
    expect(found("heart").slice(0, 2)).toEqual(["❤️", "😍"]);
    expect(found("Trend")).toEqual(["📈", "📉"]);
    expect(found("test tube")).toEqual(["🧪"]);
    expect(found("nosuchthing")).toEqual([]);
  });
});
