/** Parses Markdown that grows: finished blocks keep their tokens, only the last block is parsed again. */

import type { Token } from "marked";
import { tokenize } from "./tokenize";

/** Parsing takes at most this part of the time, so that a very long last block does not block the page. */
const MAX_TIME_SHARE = 0.1;
const MAX_DELAY_MS = 500;
/** Shorter parsing never has to wait. */
const SHORT_MS = 4;

export class BlockParser {
  readonly #now: () => number;
  #text = "";
  /** Where the last block begins. */
  #lastStart = 0;
  #finished: readonly Token[] = [];
  #last: readonly Token[] = [];
  #nextAt = 0;

  /** `now`: a clock in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The blocks of the text; those that are finished stay the same objects. */
  get tokens(): readonly Token[] {
    return [...this.#finished, ...this.#last];
  }

  /** Takes over the whole text. Returns the milliseconds to wait if parsing it now would take too much time. */
  update(text: string): number {
    const start = this.#now();
    if (text === this.#text) return 0;
    if (start < this.#nextAt) return this.#nextAt - start;
    if (!text.startsWith(this.#text.slice(0, this.#lastStart))) {
      this.#lastStart = 0;
      this.#finished = [];
    }
    this.#text = text;
    this.#parse(text.slice(this.#lastStart));
    const end = this.#now();
    const time = end - start;
    this.#nextAt = time < SHORT_MS ? 0 : end + Math.min(time / MAX_TIME_SHARE, MAX_DELAY_MS);
    return 0;
  }

  #parse(rest: string): void {
    const tokens = tokenize(rest) ?? [{ type: "plain", raw: rest }];
    const before = tokens.slice(0, startOfLast(tokens));
    const finished = before.map(({ raw }) => raw).join("");
    if (!rest.startsWith(finished)) {
      this.#last = tokens; // the parser normalized it: the start of the last block is not known
      return;
    }
    this.#lastStart += finished.length;
    this.#finished = [...this.#finished, ...before];
    this.#last = tokens.slice(before.length);
  }
}

/** The index of the first token that may still change with what follows: that of the last block but one.
 *
 * Blocks are separated by blank lines here. Whether a line continues the block before such a line can depend on the
 * whole block that it begins: "2" after "1. a" is a paragraph, and "2. b" an item; "x" after code is one, "x = 1" code.
 */
function startOfLast(tokens: readonly Token[]): number {
  let blocks = 0;
  for (let index = tokens.length - 1; index > 0; index -= 1) {
    if (tokens[index]!.type !== "space" && endsInBlankLine(tokens[index - 1]!) && ++blocks === 2) return index;
  }
  return 0;
}

const endsInBlankLine = ({ type, raw }: Token): boolean => type === "space" || /\n[ \t]*\n$/.test(raw);
