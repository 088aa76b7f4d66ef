/** A coloured disc with initials: as the server says that its user looks, else always the same for the same name. */

import type { JSX } from "preact";
import type { Profile } from "../../protocol/frames";
import { paintOf } from "./color";

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

/** The bytes themselves: a picture at an address would tell its host who reads the room. */
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]{1,5000}={0,2}$/;

interface Props {
  readonly user: string;
  readonly kernel: boolean;
  readonly profile?: Profile | null | undefined;
}

export function Avatar({ user, kernel, profile }: Props): JSX.Element {
  const { initials, color, avatar } = profile ?? {};
  const picture = avatar !== undefined && PICTURE.test(avatar);
  const style = {
    ...(color === undefined ? {} : paintOf(color)),
    ...(picture ? { backgroundImage: `url("${avatar}")` } : {}),
  };
  return (
    <span class={`bq-avatar bq-hue-${hueOf(user)}${kernel ? " bq-square" : ""}`} style={style} aria-hidden="true">
      {picture ? "" : initials?.trim() ? cut(initials.trim()) : initialsOf(user)}
    </span>
  );
}

/** Three graphemes fit. */
function cut(initials: string): string {
  return Array.from(segments.segment(initials), ({ segment }) => segment)
    .slice(0, 3)
    .join("");
}
