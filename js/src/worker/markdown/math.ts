/** Finds formulas: `$…$` by pandoc's rule, `$$…$$`, `\(…\)`, `\[…\]`, and GitHub's `` $`…`$ ``.
 *
 * Pandoc's rule: a space neither after the opening `$` nor before the closing one, and no digit after that, so that
 * "$5 and $10" stays money. In addition neither dollar is part of a shell variable or of a word.
 */

import type { Tokens } from "marked";

export interface MathToken extends Tokens.Generic {
  readonly type: "math";
  readonly raw: string;
  /** The formula in TeX. */
  readonly text: string;
  readonly display: boolean;
}

/** A formula ends with its paragraph. */
const BLANK_LINE = /\n[ \t]*\n/;
const BLOCK_START = /^ {0,3}(\$\$(?!\$)|\\\[)/;
const REST_OF_LINE = /^[ \t]*(?=\n|$)/;
const DISPLAY = /^\$\$(?![\s$])((?:(?!\n[ \t]*\n|\$\$)[\s\S])+?)(?<!\s)\$\$(?![\w$])/;
const DOLLAR = /^\$(?![\s$])((?:\\[^\n]|(?!\n[ \t]*\n)[^$\\])+)\$(?![\d${(])/;
const GITHUB = /^\$`([^`\n]+)`\$(?!\d)/;
/** After a closing bracket these belong to a regular expression, as its `\d`, `\w` and `\s` do. */
const REGEXP_GOES_ON = /^[\w+*?{\\|]/;
const REGEXP_CLASS = /\\[dws](?![A-Za-z])/;

/** `$HOME/$USER`, `$A$B`: variables of a shell. */
const SHELL_VARIABLE = /^\{|^[A-Z_][A-Z0-9_]{2,}\b|^[A-Z]$|^\w+[/:.@-]$/;
/** "$5, or 10$": a number and then a word. */
const MONEY = /^[\d.,]+[kKmMbB]?[\s,;.]+(?:.*[\s(])?\p{L}{2,}/u;
const STARTS = /\$|\\[([]/g;

/** The formula of which `src` is the start, as a block of its own. */
export function blockMath(src: string): MathToken | undefined {
  const [start, opening] = BLOCK_START.exec(src) ?? [];
  if (start === undefined) return undefined;
  const text = upTo(src.slice(start.length), opening === "$$" ? "$$" : "\\]");
  if (text === undefined) return undefined;
  const length = start.length + text.length + 2;
  const rest = REST_OF_LINE.exec(src.slice(length));
  return rest ? token(src.slice(0, length) + rest[0], text, true) : undefined;
}

/** The formula at the start of `src`, inside a text. `before`: the character before it. */
export function inlineMath(src: string, before: string): MathToken | undefined {
  if (src.startsWith("\\")) {
    const closing = { "(": "\\)", "[": "\\]" }[src.charAt(1)];
    if (closing === undefined || /[\w\\"'`/]/.test(before)) return undefined;
    const text = upTo(src.slice(2), closing);
    if (text === undefined || REGEXP_CLASS.test(text) || REGEXP_GOES_ON.test(src.slice(text.length + 4))) return undefined;
    return token(src.slice(0, text.length + 4), text, closing === "\\]");
  }
  if (!src.startsWith("$") || /[\w$\\]/.test(before)) return undefined;
  const marked = GITHUB.exec(src);
  if (marked) return token(marked[0], marked[1]!, false);
  const display = DISPLAY.exec(src);
  if (display) return token(display[0], display[1]!, true);
  const found = DOLLAR.exec(src);
  if (!found) return undefined;
  const [raw, text] = found as unknown as [string, string];
  const after = src.charAt(raw.length);
  if (/\s$/.test(text) || !isBalanced(text) || MONEY.test(text)) return undefined;
  return SHELL_VARIABLE.test(text) && /[\w/]/.test(after) ? undefined : token(raw, text, false);
}

/** The index in `src` at which a formula may start; -1 if none can. */
export const mathStart = (src: string): number => src.search(/\$|\\[([]/);

/** `src` with its formulas as letters, so that no delimiter inside them is seen. Its length stays. */
export function maskMath(src: string): string {
  if (mathStart(src) < 0) return src;
  let masked = "";
  let last = 0;
  STARTS.lastIndex = 0;
  for (let found = STARTS.exec(src); found !== null; found = STARTS.exec(src)) {
    const math = inlineMath(src.slice(found.index), src.charAt(found.index - 1));
    if (math === undefined) continue;
    masked += src.slice(last, found.index) + "a".repeat(math.raw.length);
    last = STARTS.lastIndex = found.index + math.raw.length;
  }
  return masked + src.slice(last);
}

/** The part of `src` before `closing`; undefined if that is not there, or nothing is before it. */
function upTo(src: string, closing: string): string | undefined {
  const text = src.slice(0, Math.max(src.indexOf(closing), 0));
  return text.trim() === "" || BLANK_LINE.test(text) ? undefined : text;
}

function isBalanced(text: string): boolean {
  let depth = 0;
  for (const [character] of text.replace(/\\[\s\S]/g, "").matchAll(/[{}]/g)) {
    depth += character === "{" ? 1 : -1;
    if (depth < 0) return false;
  }
  return depth === 0 && !/[(=,]\s*$/.test(text);
}

const token = (raw: string, text: string, display: boolean): MathToken => ({ type: "math", raw, text: text.trim(), display });
