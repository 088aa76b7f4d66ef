/** A text parsed piece by piece has the blocks of the whole text, and finished blocks are not parsed again. */

import fc from "fast-check";
import type { Token, Tokens } from "marked";
import { describe, expect, it } from "vitest";
import { BlockParser } from "../../src/worker/block-parser";
import { tokenize } from "../../src/worker/tokenize";

const parse = (...texts: string[]): BlockParser => {
  const parser = new BlockParser(() => 0);
  for (const text of texts) parser.update(text);
  return parser;
};
/** Without blank lines, and with paragraphs of plain text as the parser leaves them if it is not used at all. */
const drawn = (tokens: readonly Token[]): object[] =>
  tokens.flatMap((token) => {
    if (token.type === "space") return [];
    const { type, raw } = token;
    const isPlain = type === "paragraph" && (token as Tokens.Paragraph).tokens.every((each) => each.raw === raw && each.type === "text");
    return [isPlain ? { type: "plain", raw } : token];
  });
const whole = (text: string): object[] => drawn(tokenize(text) ?? [{ type: "plain", raw: text }]);

/** `text` as it grows by pieces of these lengths. */
function* growing(text: string, lengths: readonly number[]): Generator<string> {
  let end = 0;
  for (const length of lengths) yield text.slice(0, (end += length));
  yield text;
}

describe("a growing text", () => {
  it("has the same blocks as the whole, however it is split", () => {
    const lines = fc.constantFrom(
      ...["", "", "", "words", "**bold** and `code`", "- item", "- other", "* star", "  continued", "1. one", "2) two", "> quote"],
      ...["```py", "```", "~~~", "    indented", "# Title", "---", "===", "| a | b |", "|---|---|", "- [ ] task", "\ttab", "trailing  "],
      ...["x = 1", "y", "# comment", "def f(x):", "    return x", "key: value", "  more: 2", "Traceback (most recent call last):"],
      ...["ValueError: no", "During handling of it", "a   1  2", "b   3  4", "$ ls", "- old", "+ new", "2. two", "3. three", "***"],
      ...["$$", "\\[", "x^2", "\\]", "[a]: https://x.y", "<div>", "5. five", "- ", "-", "``", "**", "_a"],
    );
    fc.assert(
      fc.property(
        fc.array(lines, { maxLength: 30, size: "max" }),
        fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 200, size: "max" }),
        (each, lengths) => {
          const text = each.join("\n");
          const parser = parse(...growing(text, lengths));
          expect(drawn(parser.tokens)).toEqual(whole(text));
        },
      ),
      { numRuns: Number(process.env.BQWIDGET_RUNS ?? 500), examples: [[["-", "~~~", "", "<div>", "", "~~~"], [2, 3, 3, 7]]] },
    );
  });

  it("keeps the tokens of finished blocks", () => {
    const start = "one\n\n```\ncode\n```\n\n- a\n- b\n\n";
    const parser = parse("one\n\n```\ncode", start, `${start}last`);
    const [one, space, code, , list] = parser.tokens;
    parser.update(`${start}last one`);
    expect(parser.tokens.slice(0, 3)).toEqual([one, space, code]);
    for (const [index, token] of [one, space, code].entries()) expect(parser.tokens[index]).toBe(token);
    expect(parser.tokens[4]).not.toBe(list); // it may still go on
    expect(drawn(parser.tokens)).toEqual(whole(`${start}last one`));
  });

  it("is parsed again from its start if that was replaced", () => {
    expect(drawn(parse("one\n\ntwo\n\nthree", "1\n\ntwo").tokens)).toEqual(whole("1\n\ntwo"));
    expect(drawn(parse("one\r\n\r\ntwo", "one\r\n\r\ntwo\r\n\r\n- x").tokens)).toEqual(whole("one\n\ntwo\n\n- x"));
  });

  it("is parsed less often if its last block takes long", () => {
    let now = 0;
    const parser = new BlockParser(() => (now += 5)); // each parsing takes 5 ms
    expect(parser.update("- a")).toBe(0);
    expect(parser.update("- a\n- b")).toBe(45);
    expect(drawn(parser.tokens)).toEqual(whole("- a"));
    now += 45;
    expect(parser.update("- a\n- b")).toBe(0);
    expect(drawn(parser.tokens)).toEqual(whole("- a\n- b"));
  });
});
