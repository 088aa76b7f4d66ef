/** Truncates text by code points, as the server does with Python's `len`, and never inside one. */

export { plainText } from "../../worker/plain-text";

export const MAX_QUOTE_CHARACTERS = 160;

/** The first `max` code points, with an ellipsis if there are more. */
export function truncate(text: string, max: number): string {
  if (text.length <= max) return text;
  let end = 0;
  let left = max;
  for (const character of text) {
    if (left === 0) return `${text.slice(0, end)}…`;
    end += character.length;
    left -= 1;
  }
  return text;
}

/** Replaces lone surrogates (from a paste or a broken input method): they are not valid UTF-8, and the server rejects them. */
export const toWellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, "\ufffd");
