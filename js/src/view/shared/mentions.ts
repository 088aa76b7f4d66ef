/** Mentions of the form `@name`: finding them in a text, and the names for one that is being written. */

import { isOwnName, type State } from "../../model/state";
import type { Word } from "./words";

const MENTION_BEFORE_CARET = /(?:^|[\s([{"'،、，。])@([^\s@]{0,64})$/u;
const NAME_BEFORE = /[\p{L}\p{N}_]$/u;
const NAME_CONTINUES = /^[-.]?[\p{L}\p{N}_]/u;
/** The authors of this many last messages can be mentioned too, even if they have left. */
const RECENT_MESSAGES = 50;

export function mentionAt(text: string, caret: number): Word | null {
  const query = MENTION_BEFORE_CARET.exec(text.slice(0, caret))?.[1];
  return query === undefined ? null : { start: caret - query.length - 1, query };
}

/** The names that can be mentioned: members first, then recent authors, without the reader. */
export function mentionableNames(state: State): string[] {
  const members = state.members.map(({ user }) => user);
  const authors = state.messages.slice(-RECENT_MESSAGES).map(({ user }) => user);
  return [...new Set([...members, ...authors.reverse()])].filter((user) => user !== "" && !isOwnName(state, user));
}

/** The names of which a word starts with the query; none if the query already is the only match. */
export function candidates(names: readonly string[], { query }: Word): string[] {
  const prefix = query.toLocaleLowerCase();
  const matches = (name: string): boolean =>
    [name, ...name.split(/[\s._-]+/u)].some((word) => word.toLocaleLowerCase().startsWith(prefix));
  const found = names.filter(matches);
  return found.length === 1 && found[0] === query ? [] : found;
}

/** Whether `text` mentions `name`: not as the start of a longer name, and not as the end of a mail address. */
export function mentions(text: string, name: string): boolean {
  if (name === "" || !text.includes("@")) return false;
  const mention = `@${name.toLocaleLowerCase()}`;
  const lower = text.toLocaleLowerCase();
  for (let at = lower.indexOf(mention); at >= 0; at = lower.indexOf(mention, at + 1)) {
    const [before, after] = [lower.slice(0, at), lower.slice(at + mention.length)];
    if (!NAME_BEFORE.test(before) && !NAME_CONTINUES.test(after)) return true;
  }
  return false;
}

/** `text` in parts, of which every second one is a mention. `names`: the longest first. */
export function splitMentions(text: string, names: readonly string[]): string[] {
  const parts: string[] = [];
  let done = 0;
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    if (NAME_BEFORE.test(text.slice(Math.max(0, at - 2), at))) continue;
    const name = names.find((each) => isNamedAt(text, at + 1, each));
    if (name === undefined) continue;
    const end = at + 1 + name.length;
    parts.push(text.slice(done, at), text.slice(at, end));
    done = end;
  }
  return [...parts, text.slice(done)];
}

function isNamedAt(text: string, start: number, name: string): boolean {
  const end = start + name.length;
  return text.slice(start, end).toLocaleLowerCase() === name.toLocaleLowerCase() && !NAME_CONTINUES.test(text.slice(end, end + 3));
}
