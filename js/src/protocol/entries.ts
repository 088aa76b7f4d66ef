/** The entries of a room's log: messages, and changes to earlier messages. */

import { attachmentSchema } from "./attachments";
import { array, boolean, nullish, number, object, oneOf, optional, record, string, uint, type Infer } from "./schema";

export const askSchema = object({
  choices: nullish(array(string)),
  from: nullish(string),
  /** Milliseconds since the epoch. */
  expires: nullish(number),
});
/** What makes a message a question: who may answer, with what, until when. */
export type Ask = Infer<typeof askSchema>;

export const messageSchema = object({
  seq: uint,
  room: string,
  user: string,
  text: string,
  at: number,
  cid: nullish(string),
  re: nullish(uint),
  choice: nullish(string),
  ask: nullish(askSchema),
  parts: optional(array(attachmentSchema)),
  edited: nullish(number),
  deleted: optional(boolean),
  reactions: optional(record(array(string))),
  /** Of a question: the seq of the message that answered it. */
  answer: nullish(uint),
  /** Of a question: when it ended without an answer. */
  expired: nullish(number),
  /** The server authenticated `user`; otherwise the client chose the name. */
  verified: optional(boolean),
  /** Of a reply: the server's present time, where `at` differs from it because the clock was set. */
  real_at: optional(number),
});
/** A message with all later changes folded in. `seq` and `at` grow strictly; `seq` may skip values. */
export type Message = Infer<typeof messageSchema>;

export const changeSchema = object({
  seq: uint,
  room: string,
  user: string,
  at: number,
  kind: oneOf("edit", "delete", "react", "expire"),
  target: uint,
  cid: nullish(string),
  text: nullish(string),
  emoji: nullish(string),
  on: nullish(boolean),
});
/** An entry that changes the earlier message `target`; it has a `seq` of its own. */
export type Change = Infer<typeof changeSchema>;

export type Entry = Message | Change;

export const isChange = (entry: Entry): entry is Change => "kind" in entry;

/** `message` after `change`; applying the same change twice gives the same result. */
export function fold(message: Message, change: Change): Message {
  if (message.deleted) return message;
  switch (change.kind) {
    case "edit":
      // Without a text it was superseded: a later change of the same log has the text.
      return { ...message, text: change.text ?? message.text, edited: change.at };
    case "delete": {
      const emptied: { -readonly [Field in keyof Message]: Message[Field] } = { ...message, text: "", parts: [] };
      delete emptied.ask;
      delete emptied.answer;
      delete emptied.expired;
      return { ...emptied, reactions: {}, deleted: true, edited: change.at };
    }
    case "expire":
      return { ...message, expired: change.at };
    case "react": {
      const emoji = change.emoji ?? "";
      // A Map and `fromEntries`, because "__proto__" is a valid reaction.
      const reactions = new Map(Object.entries(message.reactions ?? {}));
      const others = (reactions.get(emoji) ?? []).filter((user) => user !== change.user);
      reactions.set(emoji, change.on === false ? others : [...others, change.user]);
      return { ...message, reactions: Object.fromEntries([...reactions].filter(([, users]) => users.length > 0)) };
    }
  }
}

/** `question` after `reply`: the first valid answer in time counts. */
export function withAnswer(question: Message, reply: Message): Message {
  const { ask, answer, expired } = question;
  if (ask === undefined || answer !== undefined || expired !== undefined || reply.re !== question.seq) return question;
  const inTime = ask.expires === undefined || (reply.real_at ?? reply.at) <= ask.expires;
  return inTime && isValidAnswer(ask, reply) ? { ...question, answer: reply.seq } : question;
}

/** Whether `reply` comes from the user who was asked and is one of the choices; it may still be late. */
export function isValidAnswer(ask: Ask, reply: { readonly user: string; readonly choice?: string }): boolean {
  if (ask.from !== undefined && ask.from !== reply.user) return false;
  return !ask.choices?.length || (reply.choice !== undefined && ask.choices.includes(reply.choice));
}
