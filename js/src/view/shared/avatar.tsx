/** An avatar: from the profile of a verified user, otherwise initials in a colour that depends on the name only. */

import type { JSX } from "preact";
import type { Profile } from "../../protocol/server-frames";
import { avatarColors } from "./color";

const HUE_COUNT = 10;
const MAX_INITIALS = 3;

function hueOf(user: string): number {
  let hash = 0;
  for (const character of user) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % HUE_COUNT;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const graphemes = (text: string): string[] => Array.from(segmenter.segment(text), ({ segment }) => segment);

/** The first graphemes of the first and last word. */
function initialsOf(user: string): string {
  const words = user.trim().split(/[\s._-]+/u).filter(Boolean);
  const ends = words.length > 1 ? [words[0]!, words.at(-1)!] : words;
  return ends.map((word) => graphemes(word)[0]!.toUpperCase()).join("");
}

/** Only `data:` URLs: a request for another URL would tell its server who reads the room. */
const AVATAR_URL = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]{1,5000}={0,2}$/;

interface Props {
  readonly user: string;
  readonly program: boolean;
  readonly profile?: Profile | null | undefined;
}

export function Avatar({ user, program, profile }: Props): JSX.Element {
  const { initials, color, avatar } = profile ?? {};
  const picture = avatar !== undefined && AVATAR_URL.test(avatar);
  const style = {
    ...(color === undefined ? {} : avatarColors(color)),
    ...(picture ? { backgroundImage: `url("${avatar}")` } : {}),
  };
  return (
    <span class={`bq-avatar bq-hue-${hueOf(user)}${program ? " bq-square" : ""}`} style={style} aria-hidden="true">
      {picture ? "" : initials?.trim() ? graphemes(initials.trim()).slice(0, MAX_INITIALS).join("") : initialsOf(user)}
    </span>
  );
}
