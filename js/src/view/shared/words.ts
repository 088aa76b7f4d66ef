/** The word before the caret that the composer completes, such as `@ad` or `/me`. */

export interface Word {
  /** The index of its first character, `@` or `/`. */
  readonly start: number;
  /** What it has after that, up to the caret. */
  readonly query: string;
}

/** `text` with `word` replaced by `completed` and a space, and the position of the caret after it. */
export function completeWord(text: string, { start, query }: Word, completed: string): { text: string; caret: number } {
  const head = `${text.slice(0, start)}${completed} `;
  const tail = text.slice(start + 1 + query.length);
  return { text: head + tail.replace(/^ /, ""), caret: head.length };
}
