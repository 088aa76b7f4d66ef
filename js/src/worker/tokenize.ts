/** Splits Markdown into tokens: plain data, so that a worker can do it, and never HTML. */

import { Lexer, Tokenizer, type MarkedOptions, type Token } from "marked";

/** Generated text, which takes the parser more than a few milliseconds, is shown as it was written. */
const LONG_WORD = /\S{2000}/;
const DELIMITERS = /[*_~`[\]<>!]/g;
const MAX_DELIMITERS = 1_000;

const disabled = (): undefined => undefined;

/** Without the syntax that would hide text, or that the view has no element for. */
class ChatTokenizer extends Tokenizer {
  override html = disabled;
  override tag = disabled;
  override def = disabled;
  override table = disabled;
  override lheading = disabled;
  override hr = disabled;
  override reflink = disabled;
}

const OPTIONS: MarkedOptions = { gfm: true, breaks: true, tokenizer: new ChatTokenizer() };

/** Contains no character that can begin syntax: most messages match, and skip the parser. */
const PLAIN_TEXT = /^[^\\`*_~[\]<>#&|\n\t:/@+\-.)0-9][^\\`*_~[\]<>#&|\n\t:/@]*$/;

export function isPlain(text: string): boolean {
  if (text.length < 2_000) return PLAIN_TEXT.test(text) && !text.includes("www.");
  return LONG_WORD.test(text) || (text.match(DELIMITERS)?.length ?? 0) > MAX_DELIMITERS;
}

/** Null if the text is to be shown as it was written. */
export function tokenize(text: string): readonly Token[] | null {
  if (isPlain(text)) return null;
  try {
    // A copy: marked's array has more properties than its type says, which `postMessage` could not clone.
    return [...new Lexer(OPTIONS).lex(text)];
  } catch {
    // Too deeply nested for the parser's recursion.
    return null;
  }
}
