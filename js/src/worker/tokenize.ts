/** Splits Markdown into tokens: plain data, so that a worker can do it, and never HTML.
 *
 * The rules differ from GitHub's where a text that was not meant as Markdown would be changed: see js/README.md.
 */

import { Hooks, Lexer, type MarkedOptions, type Token, type Tokens } from "marked";
import { chatBlock, ChatTokenizer } from "./markdown/blocks";
import type { SourceLexer } from "./markdown/inlines";
import { inlineMath, maskMath, mathStart } from "./markdown/math";

/** Generated text, which takes the parser more than a few milliseconds, is shown as it was written. */
const LONG_WORD = /\S{2000}/;
const DELIMITERS = /[*_~`[\]<>!$\\]/g;
const MAX_DELIMITERS = 1_000;
/** A block of code to its end, or to that of the text; the parser does not look into it. */
const FENCED = /^ {0,3}(`{3,}|~{3,})[^\n]*\n[^]*?(?:\n {0,3}\1|$(?![^]))/gm;

class MathHooks extends Hooks {
  override emStrongMask = maskMath;
}

function mathInText(this: { lexer: Lexer }, src: string): Tokens.Generic | undefined {
  const { source } = this.lexer as SourceLexer;
  return inlineMath(src, source.charAt(source.length - src.length - 1));
}

const OPTIONS: MarkedOptions = {
  gfm: true,
  breaks: true,
  tokenizer: new ChatTokenizer(),
  hooks: new MathHooks(),
  extensions: { renderers: {}, childTokens: {}, block: [chatBlock], inline: [mathInText], startInline: [mathStart] },
};

class ChatLexer extends Lexer implements SourceLexer {
  source = "";

  override inlineTokens(src: string, tokens: Token[] = []): Token[] {
    const outer = this.source;
    this.source = src;
    try {
      return super.inlineTokens(src, tokens);
    } finally {
      this.source = outer;
    }
  }
}

/** Contains no character that can begin syntax: most messages match, and skip the parser. */
const PLAIN_TEXT = /^[^\\`*_~[\]<>#&|$\n\t:/@+\-.)0-9 ][^\\`*_~[\]<>#&|$\n\t:/@]*$/;

export function isPlain(text: string): boolean {
  if (text.length < 2_000) return PLAIN_TEXT.test(text) && !text.includes("www.");
  const parsed = text.replace(FENCED, "");
  return LONG_WORD.test(parsed) || (parsed.match(DELIMITERS)?.length ?? 0) > MAX_DELIMITERS;
}

/** Longer texts are parsed in the worker. */
export const MAX_SYNC_CHARACTERS = 2_000;

/** Whether anything of `text` is shown in another form than typed. Links and code without a fence are not. */
export function isFormatted(text: string): boolean {
  if (text.length > MAX_SYNC_CHARACTERS) return true;
  const asTyped = (token: Token): boolean =>
    token.type === "space" ||
    token.type === "typed" ||
    (token.type === "text" && !("tokens" in token)) ||
    (token.type === "link" && token.raw === (token as Tokens.Link).text) ||
    (token.type === "paragraph" && (token as Tokens.Paragraph).tokens.every(asTyped));
  return tokenize(text)?.every(asTyped) === false;
}

/** Null if the text is to be shown as it was written. */
export function tokenize(text: string): readonly Token[] | null {
  if (isPlain(text)) return null;
  try {
    // A copy: marked's array has more properties than its type says, which `postMessage` could not clone.
    return [...new ChatLexer(OPTIONS).lex(text)];
  } catch {
    // Too deeply nested for the parser's recursion.
    return null;
  }
}
