/** Times and sizes in the reader's time zone and language. */

import { locale, strings } from "./strings";

const STYLES = {
  clock: { timeStyle: "short" },
  day: { weekday: "long", day: "numeric", month: "long" },
  dayAndYear: { day: "numeric", month: "long", year: "numeric" },
  short: { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" },
  shortAndYear: { day: "numeric", month: "short", year: "numeric", hour: "numeric", minute: "2-digit" },
  full: { dateStyle: "full", timeStyle: "medium" },
} as const satisfies Record<string, Intl.DateTimeFormatOptions>;

/** Cached, because they are slow to create. */
const formats = new Map<string, Intl.DateTimeFormat>();

function format(style: keyof typeof STYLES, at: number): string {
  const key = `${style} ${locale}`;
  const known = formats.get(key) ?? new Intl.DateTimeFormat(locale, STYLES[style]);
  formats.set(key, known);
  return known.format(date(at));
}

/** The largest time that a Date can hold; `at` comes from another clock, and may be anything. */
const MAX_DATE_MS = 8.64e15;
const date = (at: number): Date => new Date(Math.min(Math.max(at, -MAX_DATE_MS), MAX_DATE_MS));

export const formatTime = (at: number): string => format("clock", at);
export const formatDateTime = (at: number): string => format("full", at);
export const toIsoString = (at: number): string => date(at).toISOString();

export function isSameDay(a: number, b: number): boolean {
  return date(a).toDateString() === date(b).toDateString();
}

export function formatDay(at: number, now: number): string {
  if (isSameDay(at, now)) return strings.today;
  const before = date(now);
  before.setDate(before.getDate() - 1);
  if (isSameDay(at, before.getTime())) return strings.yesterday;
  const sameYear = date(at).getFullYear() === date(now).getFullYear();
  return format(sameYear ? "day" : "dayAndYear", at);
}

/** The day too, unless it is today, and the year if it is another one. */
export function formatDateAndTime(at: number, now: number): string {
  if (isSameDay(at, now)) return formatTime(at);
  return format(date(at).getFullYear() === date(now).getFullYear() ? "short" : "shortAndYear", at);
}

/** `ms` in milliseconds: 0.4 s, 12 s, 3 min. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(ms, 0) / 1_000;
  const [value, unit] = seconds < 99.5 ? [seconds, "second"] : [seconds / 60, "minute"];
  const maximumFractionDigits = value < 9.95 ? 1 : 0;
  return new Intl.NumberFormat(locale, { style: "unit", unit, maximumFractionDigits }).format(value);
}

export function formatBytes(bytes: number): string {
  const [size, unit] =
    bytes < 1_000 ? [bytes, "byte"] : bytes < 1_000_000 ? [bytes / 1_000, "kilobyte"] : [bytes / 1_000_000, "megabyte"];
  return new Intl.NumberFormat(locale, { style: "unit", unit, maximumFractionDigits: 1 }).format(size);
}
