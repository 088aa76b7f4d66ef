/** `@name` while it is being written: where it stands in the text, who it may be, and the text with a name put in. */

import { isOwn, type State } from "../../model/state";

export interface Mention {
  /** Where its `@` stands. */
  readonly start: number;
  /** What follows up to the caret. */
  readonly query: string;
}

const WRITTEN = /(?:^|[\s([{"'،、，。])@([^\s@]{0,64})$/u;
const MOST = 6;
/** Whoever spoke in these last messages can be named too, here or not. */
const RECENT = 50;

export function mentionAt(text: string, caret: number): Mention | null {
  const query = WRITTEN.exec(text.slice(0, caret))?.[1];
  return query === undefined ? null : { start: caret - query.length - 1, query };
}

/** Everybody one may name: who is here, then who spoke lately; not oneself. */
export function namesOf(state: State): string[] {
  const here = state.members.map(({ user }) => user);
  const spoke = state.messages.slice(-RECENT).map(({ user }) => user);
  return [...new Set([...here, ...spoke.reverse()])].filter((user) => user !== "" && !isOwn(state, user));
}

/** Those whose name, or a word of it, begins like this. Nobody where it is written out already. */
export function candidates(names: readonly string[], { query }: Mention): string[] {
  const wanted = query.toLocaleLowerCase();
  const begins = (name: string): boolean =>
    [name, ...name.split(/[\s._-]+/u)].some((part) => part.toLocaleLowerCase().startsWith(wanted));
  const found = names.filter(begins).slice(0, MOST);
  return found.length === 1 && found[0] === query ? [] : found;
}

/** The name that is written is a longer one. */
const GOES_ON = /^[-.]?[\p{L}\p{N}_]/u;

/** Whether the text names them: `@name`, not as the beginning of a longer name or the end of an address. */
export function mentions(text: string, name: string): boolean {
  if (name === "" || !text.includes("@")) return false;
  const wanted = `@${name.toLocaleLowerCase()}`;
  const said = text.toLocaleLowerCase();
  for (let at = said.indexOf(wanted); at >= 0; at = said.indexOf(wanted, at + 1)) {
    const [before, after] = [said.slice(0, at), said.slice(at + wanted.length)];
    if (!/[\p{L}\p{N}_]$/u.test(before) && !GOES_ON.test(after)) return true;
  }
  return false;
}

/** The text with the whole name in place of what was written of it, and where the caret goes. */
export function completed(text: string, { start, query }: Mention, name: string): { text: string; caret: number } {
  const put = `${text.slice(0, start)}@${name} `;
  const rest = text.slice(start + 1 + query.length);
  return { text: put + rest.replace(/^ /, ""), caret: put.length };
}
