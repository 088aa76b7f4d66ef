/** From messages to what each row of the list shows: who starts a group, where a day or the unread begin. */

import { mayAnswer, type Message, type Profile } from "../../protocol/frames";
import { isOwn, messageAt, type State } from "../../model/state";
import { standingOf, type Standing } from "../shared/verification-badge";
import { dayOf, sameDay } from "../../i18n/format";

/** Two messages of one author this close together stand under one name. */
const GROUP_MS = 5 * 60_000;

export interface Row {
  readonly message: Message;
  readonly own: boolean;
  readonly kernel: boolean;
  /** What the author's name stands on, and how they look if the server vouches for them. */
  readonly standing: Standing;
  readonly profile: Profile | null;
  /** Starts a group: shows avatar and name. */
  readonly first: boolean;
  readonly last: boolean;
  /** The divider above: a day's name. */
  readonly day: string | null;
  readonly unread: boolean;
  /** What it replies to, where that is still in the list. */
  readonly quoted: Message | null;
  /** The answer that counted, where this is a question. */
  readonly answer: Message | null;
  /** Why this answer didn't count. */
  readonly void: "late" | "second" | null;
}

/** When a question stops taking answers, in milliseconds since the epoch. */
export function endOf(question: Message): number {
  return Math.min(question.expired ?? Infinity, question.ask?.expires ?? Infinity);
}

/** Why `reply` doesn't count, if it tried to answer `question`. */
function voidOf(reply: Message, question: Message | null): Row["void"] {
  if (question?.ask === undefined || question.answer === reply.seq || !mayAnswer(question.ask, reply)) return null;
  return question.answer !== undefined && question.answer < reply.seq ? "second" : "late";
}

export function rowsOf(state: State, start: number, end: number, now: number): Row[] {
  const { messages, unread, kernels, principal, profiles } = state;
  const shown = messages.slice(start, end);
  const mixed = principal !== null || [...state.members, ...shown].some(({ verified }) => verified);
  return shown.map((message, offset): Row => {
    const before = messages[start + offset - 1];
    const after = messages[start + offset + 1];
    const newDay = before === undefined || !sameDay(before.at, message.at);
    const quoted = message.re === undefined ? null : (messageAt(messages, message.re) ?? null);
    const isUnread = unread.from === message.seq;
    return {
      message,
      // Whom the server knows, it has vouched for: another one who says the same name is not us.
      own: isOwn(state, message.user) && (principal === null || message.verified === true),
      kernel: kernels.has(message.user),
      standing: standingOf(message.verified, mixed),
      profile: message.verified ? (profiles.get(message.user) ?? null) : null,
      first: newDay || isUnread || !together(before, message),
      last: after === undefined || unread.from === after.seq || !together(message, after),
      day: newDay && (before !== undefined || state.complete) ? dayOf(message.at, now) : null,
      unread: isUnread,
      quoted,
      answer: message.answer === undefined ? null : (messageAt(messages, message.answer) ?? null),
      void: voidOf(message, quoted),
    };
  });
}

function together(a: Message, b: Message): boolean {
  return a.user === b.user && a.verified === b.verified && b.at - a.at < GROUP_MS && sameDay(a.at, b.at);
}
