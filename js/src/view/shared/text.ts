/** Text at its length: counted and cut by whole characters as the server counts them, never inside one. */

/** Characters of a message that is quoted. */
export const QUOTED = 160;

/** What the server counts: Python's `len`, not UTF-16 units. */
export function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** The first `most` characters, and an ellipsis where there were more. */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  let end = 0;
  let left = most;
  for (const character of text) {
    if (left === 0) return `${text.slice(0, end)}…`;
    end += character.length;
    left -= 1;
  }
  return text;
}

/** Half a character (a lone surrogate, from a paste or a broken input method) is none in UTF-8: the server refuses it. */
export const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, "\ufffd");
