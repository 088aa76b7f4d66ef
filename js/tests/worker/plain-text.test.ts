import { describe, expect, it } from "vitest";
import { plainText } from "../../src/worker/plain-text";

describe("the text of a message in one line", () => {
  it.each([
    ["**Rules:** name your `runs` after _what_ they change", "Rules: name your runs after what they change"],
    ["# Results\n\n- *one*\n- two\n\n> said\n\nend", "Results one two said end"],
    ["| a | b |\n|---|--:|\n| 1 | **2** |", "a b 1 2"],
    ["see [the docs](https://example.org/x) and https://example.org", "see the docs and https://example.org"],
    ["```py\nx = 2*3*4\n```", "x = 2*3*4"],
    ["2*3*4 and __init__ in C:\\_a", "2*3*4 and __init__ in C:\\_a"],
    ["plain", "plain"],
    ["one\n\ntwo", "one two"],
    ["a <b>tag</b> & co", "a <b>tag</b> & co"],
    ["~~old~~ new $x_1$", "old new x_1"],
  ])("%j is %j", (text, line) => {
    expect(plainText(text)).toBe(line);
  });
});
