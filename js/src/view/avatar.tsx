/** A coloured disc with initials: always the same colour for the same name. */

import type { JSX } from "preact";

const HUES = 10;

export function hueOf(user: string): number {
  let hash = 0;
  for (const character of user) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % HUES;
}

const segments = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The first letters of the first and last word, whole graphemes: an emoji stays an emoji. */
export function initialsOf(user: string): string {
  const parts = user.trim().split(/[\s._-]+/u).filter(Boolean);
  const letters = parts.length > 1 ? [parts[0]!, parts.at(-1)!] : parts;
  return letters.map((part) => firstGrapheme(part).toUpperCase()).join("");
}

function firstGrapheme(text: string): string {
  for (const { segment } of segments.segment(text)) return segment;
  return "";
}

export function Avatar({ user, kernel }: { readonly user: string; readonly kernel: boolean }): JSX.Element {
  return (
    <span class={`bq-avatar bq-hue-${hueOf(user)}${kernel ? " bq-square" : ""}`} aria-hidden="true">
      {initialsOf(user)}
    </span>
  );
}
