/** Finds emoji by the words of their names, such as "tada" or "thumbs". */

import { EMOJI_TABLE } from "./table";

export interface Emoji {
  readonly emoji: string;
  /** As in `:tada:`, the usual one first. */
  readonly names: readonly string[];
}

export const EMOJI: readonly Emoji[] = EMOJI_TABLE.trim()
  .split(/\s+/)
  .map((entry) => {
    const [emoji = "", names = ""] = entry.split(":");
    return { emoji, names: names.split(",") };
  });

/** A name of which the whole, the beginning, or the beginning of a word is `query`: in this order. */
export function findEmoji(query: string): Emoji[] {
  const part = query.toLowerCase().replace(/\s+/g, "_");
  const rank = ({ names }: Emoji): number => {
    if (names.includes(part)) return 0;
    if (names.some((name) => name.startsWith(part))) return 1;
    return names.some((name) => name.includes(`_${part}`)) ? 2 : 3;
  };
  const ranked = EMOJI.map((each) => ({ each, rank: rank(each) })).filter((found) => found.rank < 3);
  return ranked.sort((a, b) => a.rank - b.rank).map(({ each }) => each);
}
