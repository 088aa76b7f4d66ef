/** From messages to what each row of the list shows: who starts a group, where a day or the unread begin. */

import type { Message } from "../protocol";
import { isOwn, messageAt, type State } from "../state";
import { dayOf, sameDay } from "./time";

/** Two messages of one author this close together stand under one name. */
const GROUP_MS = 5 * 60_000;

export interface Row {
  readonly message: Message;
  readonly own: boolean;
  readonly kernel: boolean;
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

/** Which answer counts for each question, and why the others don't. */
export interface Answers {
  readonly counted: ReadonlyMap<number, Message>;
  readonly voided: ReadonlyMap<number, "late" | "second">;
}

/** The first by seq counts; one after the question's end, or after the first, is marked. */
export function answersOf(messages: readonly Message[]): Answers {
  const counted = new Map<number, Message>();
  const voided = new Map<number, "late" | "second">();
  for (const message of messages) {
    if (message.re === undefined) continue;
    const question = messageAt(messages, message.re);
    if (question?.ask === undefined || !answers(message, question)) continue;
    if (counted.has(question.seq)) voided.set(message.seq, "second");
    else if (message.at > endOf(question)) voided.set(message.seq, "late");
    else counted.set(question.seq, message);
  }
  return { counted, voided };
}

/** When a question stops taking answers, in milliseconds since the epoch. */
export function endOf(question: Message): number {
  return Math.min(question.expired ?? Infinity, question.ask?.expires ?? Infinity);
}

export function mayAnswer(question: Message, user: string): boolean {
  const from = question.ask?.from;
  return from === undefined || from === user;
}

function answers(message: Message, question: Message): boolean {
  const choices = question.ask?.choices;
  if (!mayAnswer(question, message.user)) return false;
  return !choices?.length || choices.includes(message.choice ?? message.text.trim());
}

export function rowsOf(state: State, answers: Answers, start: number, end: number, now: number): Row[] {
  const { messages, unread, kernels } = state;
  return messages.slice(start, end).map((message, offset): Row => {
    const before = messages[start + offset - 1];
    const after = messages[start + offset + 1];
    const newDay = before === undefined || !sameDay(before.at, message.at);
    const isUnread = unread.from === message.seq;
    return {
      message,
      own: isOwn(state, message.user),
      kernel: kernels.has(message.user),
      first: newDay || isUnread || !together(before, message),
      last: after === undefined || unread.from === after.seq || !together(message, after),
      day: newDay && (before !== undefined || state.complete) ? dayOf(message.at, now) : null,
      unread: isUnread,
      quoted: message.re === undefined ? null : (messageAt(messages, message.re) ?? null),
      answer: answers.counted.get(message.seq) ?? null,
      void: answers.voided.get(message.seq) ?? null,
    };
  });
}

function together(a: Message, b: Message): boolean {
  return a.user === b.user && b.at - a.at < GROUP_MS && sameDay(a.at, b.at);
}
