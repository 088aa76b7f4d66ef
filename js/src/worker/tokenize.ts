/** A message's Markdown split into tokens: plain data, so that a worker can do it for a window. None of it is HTML. */

import { Lexer, Tokenizer, type MarkedOptions, type Token } from "marked";

/** Text that nobody writes by hand, on which the parser takes more than a few milliseconds: shown as written. */
const UNBROKEN = /\S{2000}/;
const DELIMITERS = /[*_~`[\]<>!]/g;
const MOST_DELIMITERS = 1_000;

const none = (): undefined => undefined;

/** Markdown that would hide what was typed, or that has no element on the list, is not syntax here. */
class ChatTokenizer extends Tokenizer {
  override html = none;
  override tag = none;
  override def = none;
  override table = none;
  override lheading = none;
  override hr = none;
  override reflink = none;
}

const OPTIONS: MarkedOptions = { gfm: true, breaks: true, tokenizer: new ChatTokenizer() };

/** Plain words: no character in here can begin syntax. Most messages are such, and skip the parser. */
const PLAIN = /^[^\\`*_~[\]<>#&|\n\t:/@+\-.)0-9][^\\`*_~[\]<>#&|\n\t:/@]*$/;

export function isPlain(text: string): boolean {
  if (text.length < 2_000) return PLAIN.test(text) && !text.includes("www.");
  return UNBROKEN.test(text) || (text.match(DELIMITERS)?.length ?? 0) > MOST_DELIMITERS;
}

/** Null where it is to be shown as it was written. */
export function parse(text: string): readonly Token[] | null {
  if (isPlain(text)) return null;
  try {
    // A copy: marked hangs more on its list than it says.
    return [...new Lexer(OPTIONS).lex(text)];
  } catch {
    // A parser's limits (recursion) are no reason not to show what was said.
    return null;
  }
}
