/** The rules between lines: where a heading, a list, a quote, a table or a rule begins and ends.
 *
 * A block ends with its last line: a line after a quote, a list or a table never joins it, as it does on GitHub.
 */

import type { Token, Tokens } from "marked";
import { InlineTokenizer } from "./inlines";
import { blockMath } from "./math";
import { typedLength } from "./typed";

const BLANK = /^[ \t]*(?:\n|$)/;
const FENCE = /^ {0,3}(?:`{3,}[^`\n]*(?:\n|$)|~{3,})/;
/** It underlines the line before it; a fence has code below it. What follows later must not decide: a text may still grow. */
const UNDERLINE_OF_TILDES = /^ {0,3}~{3,}[ \t]*(?:\n[ \t]*(?:\n|$)|$)/;
/** `>` and a space, a letter or the start of markup; not `>5`, `>=`, `>.<`, `>:(` or the end of a merge conflict. */
const QUOTE = /^ {0,3}(?!>{7} )>+(?:[ \t]|(?=\n|$)|(?=[\p{L}"“‘«*`[]))/u;
const BULLET = /^( {0,3})([*+-]|\d{1,9}[.)])[ \t]+\S/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|(?:\*[ \t]*){3,})(?:\n|$)/;
const TABLE = /^ {0,3}\S?[^\n]*\|[^\n]*\n {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*(?:\n|$)/;
/** A line and the line that underlines it, alone between blank lines. */
const UNDERLINED = /^ {0,3}\S[^\n|]*\n {0,3}(?:={3,}|-{3,})[ \t]*(?=\n[ \t]*(?:\n|$)|$)/;

/** Lines that were not meant as Markdown. */
export interface TypedToken extends Tokens.Generic {
  readonly type: "typed";
  readonly text: string;
}

/** With the number that was typed, where the list does not count up from its start. */
export type NumberedItem = Tokens.ListItem & { value?: number };

const disabled = (): undefined => undefined;

export class ChatTokenizer extends InlineTokenizer {
  override html = disabled;
  override def = disabled;

  override code(src: string): Tokens.Code | undefined {
    const token = super.code(src);
    return token && (typed(token.raw.replace(/\n+$/, "")) as unknown as Tokens.Code);
  }

  override fences(src: string): Tokens.Code | undefined {
    const token = super.fences(src);
    if (token?.lang !== "math" || token.text.trim() === "") return token;
    return { type: "math", raw: token.raw, text: token.text, display: true } as unknown as Tokens.Code;
  }

  override heading(src: string): Tokens.Heading | undefined {
    const token = super.heading(src);
    return token?.text === "" ? undefined : token;
  }

  override lheading(src: string): Tokens.Heading | undefined {
    const found = UNDERLINED.exec(src);
    if (!found || !this.lexer.state.top) return undefined;
    const [title, underline] = found[0].split("\n") as [string, string];
    const text = title.trim();
    return { type: "heading", raw: found[0], depth: underline.includes("=") ? 1 : 2, text, tokens: this.lexer.inline(text) };
  }

  override hr(src: string): Tokens.Hr | undefined {
    const [raw] = RULE.exec(src) ?? [];
    if (raw === undefined || !BLANK.test(src.slice(raw.length)) || this.#follows("text")) return undefined;
    // Alone it would separate nothing.
    return src.slice(raw.length).trim() === "" && this.lexer.state.lastToken === undefined ? undefined : super.hr(src);
  }

  override blockquote(src: string): Tokens.Blockquote | undefined {
    let end = 0;
    while (end < src.length && QUOTE.test(src.slice(end, end + 400))) end = nextLine(src, end);
    if (end === 0) return undefined;
    const raw = src.slice(0, end).replace(/\n$/, "");
    const text = raw.replace(/^ {0,3}> ?/gm, "");
    if (/^[\s>]*$/.test(text)) return undefined; // nothing would be shown
    const { top } = this.lexer.state;
    this.lexer.state.top = true;
    const tokens = this.lexer.blockTokens(text, []);
    this.lexer.state.top = top;
    return { type: "blockquote", raw, text, tokens };
  }

  override list(src: string): Tokens.List | undefined {
    const found = listAt(src);
    // Inside an item one bullet is a list; in a text it is a dash.
    if (!found || (this.lexer.state.top && !isList(found))) return undefined;
    const token = super.list(src.slice(0, found.length));
    if (token?.ordered !== true) return token;
    const numbers = token.items.map(({ raw }) => Number(/\d+/.exec(raw)?.[0]));
    const counting = numbers.every((number, index) => number === numbers[0]! + index) || numbers.every((number) => number === numbers[0]);
    if (!counting) token.items.forEach((item: NumberedItem, index) => (item.value = numbers[index]!));
    return token;
  }

  override table(src: string): Tokens.Table | undefined {
    if (!TABLE.test(src)) return undefined;
    let end = nextLine(src, nextLine(src, 0));
    while (end < src.length && src.slice(end, nextLine(src, end)).includes("|")) end = nextLine(src, end);
    return super.table(src.slice(0, end).replace(/\n$/, ""));
  }

  override paragraph(src: string): Tokens.Paragraph | undefined {
    let end = nextLine(src, 0);
    while (end < src.length && !BLANK.test(src.slice(end, nextLine(src, end))) && !interrupts(src.slice(end))) end = nextLine(src, end);
    const text = src.slice(0, end).replace(/\n$/, "");
    if (text === "") return undefined;
    return { type: "paragraph", raw: text, text, tokens: this.lexer.inline(text) };
  }

  #follows(type: string): boolean {
    return this.lexer.state.lastToken?.type === type;
  }
}

/** Whether a block begins at `src`, whose line follows a line of text. */
function interrupts(src: string): boolean {
  if (UNDERLINE_OF_TILDES.test(src)) return false;
  if (FENCE.test(src) || QUOTE.test(src) || TABLE.test(src) || blockMath(src) !== undefined) return true;
  const list = listAt(src);
  return (list !== null && list.count > 1 && (list.first === null || list.first === 1)) || typedLength(src, true) > 0;
}

interface FoundList {
  readonly length: number;
  readonly marker: string;
  /** The number of its items. */
  readonly count: number;
  /** The first number; null for bullets. */
  readonly first: number | null;
  readonly multiline: boolean;
}

/** The list at the start of `src`: lines that begin with its marker, or are indented. */
function listAt(src: string): FoundList | null {
  const [, , marker] = BULLET.exec(src) ?? [];
  if (marker === undefined || RULE.test(src)) return null;
  let [end, count] = [0, 0];
  let multiline = false;
  for (let at = 0; at < src.length; ) {
    const line = src.slice(at, nextLine(src, at));
    at += line.length;
    if (BLANK.test(line)) continue;
    const own = BULLET.exec(line)?.[2];
    if (own?.slice(-1) === marker.slice(-1)) count += 1;
    else if (/^[ \t]/.test(line)) multiline = true;
    else break;
    end = at;
  }
  const first = marker.length > 1 ? Number(marker.slice(0, -1)) : null;
  return { length: src.slice(0, end).replace(/\n$/, "").length, marker, count, first, multiline };
}

/** "1986. A great year", "24. Dezember" and "+ 1" are sentences: a numbered list has two items, or one of several lines. */
const isList = ({ marker, first, count, multiline }: FoundList): boolean =>
  count > 1 || (first === null ? marker !== "+" || multiline : multiline && first <= 1);

const nextLine = (src: string, from: number): number => {
  const end = src.indexOf("\n", from);
  return end < 0 ? src.length : end + 1;
};

const typed = (raw: string): TypedToken => ({ type: "typed", raw, text: raw });

/** The blocks that marked does not know, tried first. */
export function chatBlock(this: { lexer: { state: { top: boolean; lastToken?: Token } } }, src: string): Tokens.Generic | undefined {
  const math = blockMath(src);
  if (math !== undefined || !this.lexer.state.top) return math;
  const length = typedLength(src);
  return length > 0 ? typed(src.slice(0, length)) : undefined;
}
