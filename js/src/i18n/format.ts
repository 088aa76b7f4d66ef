/** Times as people read them, in the reader's own time zone and language. */

import { locale, words } from "./strings";

const STYLES = {
  clock: { timeStyle: "short" },
  day: { weekday: "long", day: "numeric", month: "long" },
  dayAndYear: { day: "numeric", month: "long", year: "numeric" },
  full: { dateStyle: "full", timeStyle: "medium" },
} as const satisfies Record<string, Intl.DateTimeFormatOptions>;

/** Slow to make, so made once for a language. */
const formats = new Map<string, Intl.DateTimeFormat>();

function format(style: keyof typeof STYLES, at: number): string {
  const key = `${style} ${locale}`;
  const known = formats.get(key) ?? new Intl.DateTimeFormat(locale, STYLES[style]);
  formats.set(key, known);
  return known.format(date(at));
}

/** The largest time a Date can hold; a foreign clock may claim anything. */
const LATEST = 8.64e15;
const date = (at: number): Date => new Date(Math.min(Math.max(at, -LATEST), LATEST));

export const timeOf = (at: number): string => format("clock", at);
export const fullTime = (at: number): string => format("full", at);
export const isoTime = (at: number): string => date(at).toISOString();

export function sameDay(a: number, b: number): boolean {
  return date(a).toDateString() === date(b).toDateString();
}

export function dayOf(at: number, now: number): string {
  if (sameDay(at, now)) return words.today;
  const before = date(now);
  before.setDate(before.getDate() - 1);
  if (sameDay(at, before.getTime())) return words.yesterday;
  const sameYear = date(at).getFullYear() === date(now).getFullYear();
  return format(sameYear ? "day" : "dayAndYear", at);
}
