/** The rules inside a paragraph. They are stricter than GitHub's, so that a text that is not Markdown stays as typed. */

import { Tokenizer, type Lexer, type Tokens } from "marked";

/** The lexer, with the text in which a token begins: marked's tokenizers only see what follows. */
export interface SourceLexer extends Lexer {
  readonly source: string;
}

/** Scripts that are written without spaces: there emphasis may begin between two letters. */
const NO_SPACES = String.raw`\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Hang}\p{scx=Bopo}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmr}\p{scx=Mymr}`;
const LETTER = String.raw`(?![${NO_SPACES}])[\p{L}\p{M}\p{N}]`;
/** Emphasis does not begin after these: `2*3*4`, `src/*`, `.*`, `&*x*`. */
const NOT_BEFORE = new RegExp(String.raw`(?:${LETTER}|[/\\.=&@$%^+<#])$`, "u");
/** Nor end before these: `*x*2`, `*a*(b)`, `*foo*.py`. */
const NOT_AFTER = new RegExp(String.raw`^(?:${LETTER}|[/\\=([{@$%^+#]|\.${LETTER})`, "u");
// Its content does not begin with these: `*.py *`, `**/x`; nor end with these: `*a/*`.
const NOT_FIRST = /^[/.,;:)\]}|=&^%+?>\\-]/;
const NOT_LAST = /[/([{|<\\@&^=]$/;
const SIGNED_NUMBER = /^[+-]\d/;
/** `2 *3* 4` */
const NUMBER = /^[\d.,]+$/;
const AFTER_NUMBER = /[\d)]\s$/;
/** In `__init__`: a name of Python. */
const IDENTIFIER = /^[A-Za-z_]\w*$/;

const ESCAPABLE = /^\\([*_~`$|])/;
const ESCAPABLE_FIRST = /^\\([*_~`$|#>+-])/;
const ORDERED_BEFORE = /(?:^|\n) {0,3}\d{1,9}$/;
/** A word of prose, once its escapes are taken out: neither a path nor a regular expression. */
const PROSE_WORD = /^[\p{L}\p{M}\p{N}'"“”‘’(),.;:!?–—-]*$/u;

/** It ends an address; of the other scripts, what ends a sentence or a quotation, at the end only. */
export const CJK_PUNCTUATION = String.raw`\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65“”‘’…`;
export const SENTENCE_END = String.raw`»›\u0589\u060c\u061b\u061f\u06d4\u0964\u0965\u104a\u104b\u17d4\u17d5`;
const ADDRESS_END = new RegExp(String.raw`[${CJK_PUNCTUATION}]|[${SENTENCE_END}]+[.,;:!?)]*(?=\s|$)`);

const disabled = (): undefined => undefined;

export class InlineTokenizer extends Tokenizer {
  override tag = disabled;
  override reflink = disabled;
  /** A line break stays a character, so that the spaces after it stay too. */
  override br = disabled;

  /** What `src` continues: the text before it in the same paragraph. */
  #before(src: string): string {
    const { source } = this.lexer as SourceLexer;
    return source.endsWith(src) ? source.slice(0, source.length - src.length) : "";
  }

  override emStrong(src: string, maskedSrc: string, previous = ""): Tokens.Em | Tokens.Strong | undefined {
    const delimiter = src.charAt(0);
    const start = maskedSrc.length - src.length;
    if ((delimiter !== "*" && delimiter !== "_") || !this.#mayOpen(src)) return undefined;
    if (delimiter === "_" && !isPaired(maskedSrc)) return undefined;
    const token = super.emStrong(src, maskedSrc, previous);
    if (token === undefined || !mayClose(token.text, src.slice(token.raw.length))) return undefined;
    if (/^[*]_.*_[*]$|^[*_~]+$/.test(token.raw)) return undefined; // a glob, or a face
    const single = token.type === "em" && !/^[*_]{2}/.test(token.raw);
    if (single && NUMBER.test(token.text) && AFTER_NUMBER.test(this.#before(src).slice(-2))) return undefined;
    if (delimiter === "_" && (token.text.includes("\n") || (token.raw.startsWith("__") && IDENTIFIER.test(token.text)))) return undefined;
    // A masked opening delimiter was escaped.
    return maskedSrc.charAt(start) === delimiter ? token : undefined;
  }

  /** "df$`a b`" is a name of R. */
  override codespan(src: string): Tokens.Codespan | undefined {
    return this.#before(src).endsWith("$") ? undefined : super.codespan(src);
  }

  override del(src: string, maskedSrc: string, previous = ""): Tokens.Del | undefined {
    // A single `~` is a home folder or "about".
    if (!src.startsWith("~~") || !this.#mayOpen(src)) return undefined;
    const token = super.del(src, maskedSrc, previous);
    return token !== undefined && mayClose(token.text, src.slice(token.raw.length)) ? token : undefined;
  }

  #mayOpen(src: string): boolean {
    const [delimiters] = /^(?:\*+|_+|~+)/.exec(src)!;
    const content = src.slice(delimiters.length, delimiters.length + 2);
    const before = this.#before(src).slice(-2);
    // After another one: the rest of delimiters that were refused. Between quotes: it is meant itself, as '***'.
    if (/^\s|^$/.test(content) || NOT_BEFORE.test(before) || /[*_~]$/.test(before)) return false;
    if (/["']$/.test(before) && content.startsWith(before.slice(-1))) return false;
    return !NOT_FIRST.test(content) || (delimiters.length > 1 && SIGNED_NUMBER.test(content));
  }

  /** A backslash is hidden only where it protects a character of prose: `\*`, but not in `C:\*` and not in `\[.*\]`. */
  override escape(src: string): Tokens.Escape | undefined {
    const before = this.#before(src);
    const first = /(?:^|\n)[ \t]*$/.test(before);
    const found = (first ? ESCAPABLE_FIRST : ESCAPABLE).exec(src) ?? (ORDERED_BEFORE.test(before) ? /^\\([.)])(?=\s)/.exec(src) : null);
    if (!found) return undefined;
    const word = (/\S*$/.exec(before.slice(-100)) ?? [""])[0] + (/^\S*/.exec(src.slice(0, 100)) ?? [""])[0];
    if (/^[A-Za-z]:\\/.test(word) || !PROSE_WORD.test(word.replace(/\\[*_~`$|#>+.)-]/g, ""))) return undefined;
    return { type: "escape", raw: found[0], text: found[1]! };
  }

  override url(src: string): Tokens.Link | undefined {
    const end = src.search(ADDRESS_END);
    const address = end < 0 ? src : src.slice(0, end);
    const token = super.url(address);
    if (token !== undefined || !/^(?:https?:\/\/|www\.)[^\0-\x7f]/i.test(address)) return token;
    // A host such as пример.рф: marked knows only ASCII at its start.
    const masked = super.url(address.replace(/[^\0-\x7f]/g, "x"));
    if (masked === undefined) return undefined;
    const raw = address.slice(0, masked.raw.length);
    return { ...masked, raw, text: raw, href: masked.href.replace(masked.raw, () => raw), tokens: [{ type: "text", raw, text: raw }] };
  }

  /** Character references stay as typed, as all HTML does. */
  override inlineText(src: string): Tokens.Text | undefined {
    const token = super.inlineText(src);
    return token && { ...token, text: token.raw };
  }
}

const mayClose = (content: string, after: string): boolean => !NOT_LAST.test(content) && !NOT_AFTER.test(after.slice(0, 3));

/** A run of `_` at the start of a word, or (the group) at its end. */
const EDGE_UNDERSCORES = /(?<![\p{L}\p{N}_])_+(?=[\p{L}\p{N}])|(?<=[\p{L}\p{N}.,;:!?)\]"'…*])(_+)(?![\p{L}\p{N}_])/gu;

/** Whether each `_` at the start of a word has one at the end of a later word: else they are names, as `_fit` and `coef_`. */
function isPaired(text: string): boolean {
  let open = 0;
  for (const [, closing] of text.matchAll(EDGE_UNDERSCORES)) {
    open += closing === undefined ? 1 : -1;
    if (open < 0) return false;
  }
  return open === 0;
}
