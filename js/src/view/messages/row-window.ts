/** Which messages are rows in the DOM: a few dozen around what is being read, however long the list.
 *
 * `top` and `bottom` are seqs, not indices, so that a page of history put in front moves nothing. Null
 * means the end of the list: at the bottom, "follow the newest".
 */

import { indexOf } from "../../model/state";
import type { Message } from "../../protocol/frames";

export interface Window {
  readonly top: number | null;
  readonly bottom: number | null;
}

export const FOLLOW: Window = { top: null, bottom: null };
/** Rows while following the newest. */
export const ROWS = 80;
/** More messages than this at once fly by: until it is calm again, no more of them are drawn than fit into view. */
const FLOOD = 20;
/** The least that a row takes, in pixels. */
const ROW_HEIGHT = 36;
export const MOST_ROWS = 160;
export const STEP = 40;

export interface Range {
  readonly start: number;
  readonly end: number;
}

/** `rows`: how many while following the newest. */
export function rangeOf(window: Window, messages: readonly Message[], rows = ROWS): Range {
  const end = window.bottom === null ? messages.length : indexOf(messages, window.bottom + 1);
  if (window.top === null) return { start: Math.max(0, end - rows), end };
  const start = Math.min(indexOf(messages, window.top), end);
  return { start, end: Math.min(end, start + MOST_ROWS) };
}

export const rowsIn = (height: number): number => Math.min(ROWS, Math.ceil(height / ROW_HEIGHT) + 1);

/** Whether so many messages came behind `newest` that nobody can read them. */
export function isFlood(messages: readonly Message[], newest: number | null): boolean {
  return newest !== null && messages.length - indexOf(messages, newest + 1) > FLOOD;
}

/** Holds the rows that are there now, so that arrivals below don't push out what is being read. */
export function held(window: Window, messages: readonly Message[]): Window {
  const { start, end } = rangeOf(window, messages);
  const top = messages[start]?.seq ?? null;
  return { top, bottom: end < messages.length ? (messages[end - 1]?.seq ?? null) : null };
}

export function extendedUp(window: Window, messages: readonly Message[]): Window {
  const range = rangeOf(window, messages);
  const start = Math.max(0, range.start - STEP);
  const end = Math.min(range.end, start + MOST_ROWS);
  return between(start, end, messages);
}

export function extendedDown(window: Window, messages: readonly Message[]): Window {
  const range = rangeOf(window, messages);
  const end = Math.min(messages.length, range.end + STEP);
  return between(Math.max(range.start, end - MOST_ROWS), end, messages);
}

function between(start: number, end: number, messages: readonly Message[]): Window {
  const bottom = end === messages.length ? null : (messages[end - 1]?.seq ?? null);
  return { top: messages[start]?.seq ?? null, bottom };
}
