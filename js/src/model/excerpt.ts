/** What one view shows after its reader went to a message: a stretch of the log before the newest messages. */

import type { Message } from "../protocol/entries";
import type { Excerpt, PagePosition, State, View } from "./state";

export const NO_EXCERPT: Excerpt = { messages: null, complete: false, request: null, target: null };

export const excerptOf = ({ excerpts }: State, view: View): Excerpt => excerpts.get(view) ?? NO_EXCERPT;

/** `state` with the messages that `view` shows in place of the newest ones. */
export function shownIn(state: State, view: View): State {
  const { messages, complete, request } = excerptOf(state, view);
  return messages === null ? state : { ...state, messages, complete, request: request && { id: request.id, kind: "older" } };
}

/** The message of an excerpt to look for: the first one since the time `at`, or with the seq `around` or a later one. */
export function nearest(messages: readonly Message[], { around, at }: PagePosition): Message | undefined {
  return messages.find((message) => (around === undefined ? message.at >= (at ?? 0) : message.seq >= around)) ?? messages.at(-1);
}
