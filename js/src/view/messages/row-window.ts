/** Which messages are rows in the DOM: a limited number around the ones being read, for lists of any length.
 *
 * `top` and `bottom` are seqs, not indices, so that older messages added at the start move nothing. Null means the
 * end of the list; at the bottom, the newest message, also of those to come.
 */

import { indexOfSeq } from "../../model/state";
import type { Message } from "../../protocol/entries";

export interface RowWindow {
  readonly top: number | null;
  readonly bottom: number | null;
}

export const FOLLOW_LATEST: RowWindow = { top: null, bottom: null };
/** While following the newest message. */
export const DEFAULT_ROWS = 80;
const MAX_ROWS = 160;
const EXTENSION_ROWS = 40;
const MIN_ROW_HEIGHT_PX = 36;
/** After more messages than this at once, only as many rows as are visible are rendered, until the flood ends. */
const MAX_CALM_MESSAGES = 20;

interface RowRange {
  readonly start: number;
  readonly end: number;
}

/** `rows`: their number while following the newest message. */
export function rangeOf(window: RowWindow, messages: readonly Message[], rows = DEFAULT_ROWS): RowRange {
  const end = window.bottom === null ? messages.length : indexOfSeq(messages, window.bottom + 1);
  if (window.top === null) return { start: Math.max(0, end - rows), end };
  const start = Math.min(indexOfSeq(messages, window.top), end);
  return { start, end: Math.min(end, start + MAX_ROWS) };
}

export const rowsThatFit = (height: number): number => Math.min(DEFAULT_ROWS, Math.ceil(height / MIN_ROW_HEIGHT_PX) + 1);

/** Whether too many messages arrived after `newestSeq` to read them. */
export function isFlood(messages: readonly Message[], newestSeq: number | null): boolean {
  return newestSeq !== null && messages.length - indexOfSeq(messages, newestSeq + 1) > MAX_CALM_MESSAGES;
}

/** Keeps the present rows, so that new messages do not remove the ones being read. */
export function pinned(window: RowWindow, messages: readonly Message[]): RowWindow {
  const { start, end } = rangeOf(window, messages);
  return between(start, end, messages);
}

/** The rows around the message `seq`. */
export function around(seq: number, messages: readonly Message[]): RowWindow {
  const index = indexOfSeq(messages, seq);
  const start = Math.max(0, index - DEFAULT_ROWS / 2);
  return between(start, Math.min(messages.length, index + DEFAULT_ROWS / 2), messages);
}

export function extendedUp(window: RowWindow, messages: readonly Message[]): RowWindow {
  const range = rangeOf(window, messages);
  const start = Math.max(0, range.start - EXTENSION_ROWS);
  const end = Math.min(range.end, start + MAX_ROWS);
  return between(start, end, messages);
}

export function extendedDown(window: RowWindow, messages: readonly Message[]): RowWindow {
  const range = rangeOf(window, messages);
  const end = Math.min(messages.length, range.end + EXTENSION_ROWS);
  return between(Math.max(range.start, end - MAX_ROWS), end, messages);
}

function between(start: number, end: number, messages: readonly Message[]): RowWindow {
  const bottom = end === messages.length ? null : (messages[end - 1]?.seq ?? null);
  return { top: messages[start]?.seq ?? null, bottom };
}
