/** Times as people read them, in the reader's own time zone and language. */

import { words } from "./words";

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** The largest time a Date can hold; a foreign clock may claim anything. */
const LATEST = 8.64e15;
const date = (at: number): Date => new Date(Math.min(Math.max(at, -LATEST), LATEST));

export const timeOf = (at: number): string => clock.format(date(at));
export const fullTime = (at: number): string => full.format(date(at));
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
  return (sameYear ? day : dayAndYear).format(date(at));
}
