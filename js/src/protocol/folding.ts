/** What becomes of a message by later entries: edits, reactions, appended text, steps, votes, answers. */

import type { Ask, Change, Message, Progress, Step } from "./entries";

type Mutable = { -readonly [Field in keyof Message]: Message[Field] };

/** `message` after `change`; applying the same change twice gives the same result. */
export function fold(message: Message, change: Change): Message {
  if (message.deleted) return message;
  switch (change.kind) {
    case "edit":
      // Without a text it was superseded: a later change of the same log has the text.
      return { ...message, text: change.text ?? message.text, edited: change.at };
    case "delete": {
      const emptied: Mutable = { ...message, text: "", parts: [] };
      delete emptied.ask;
      delete emptied.answer;
      delete emptied.expired;
      delete emptied.live;
      delete emptied.steps;
      delete emptied.progress;
      delete emptied.votes;
      delete emptied.pinned;
      delete emptied.cell;
      return { ...emptied, reactions: {}, deleted: true, edited: change.at };
    }
    case "expire":
      return { ...message, expired: change.at };
    case "react": {
      if (change.pin === true) {
        const unpinned: Mutable = { ...message };
        delete unpinned.pinned;
        return change.on === false ? unpinned : { ...unpinned, pinned: change.at };
      }
      const reactions = marked(message.reactions ?? {}, change.emoji ?? "", change.user, change.on !== false);
      return { ...message, reactions };
    }
    case "append":
      return change.length === undefined ? appended(message, change) : message;
    case "step":
      return withStep(message, change);
    case "end":
      if (message.live !== true) return message;
      return {
        ...message,
        text: change.text ?? message.text,
        live: false,
        ...(message.progress !== undefined && { progress: withoutTimeLeft(message.progress) }),
        ...(change.end !== undefined && { end: change.end }),
        ...(change.stopped_by !== undefined && { stopped_by: change.stopped_by }),
      };
    case "vote":
      return withVote(message, change);
  }
}

const withoutTimeLeft = ({ fraction }: Progress): Progress => (fraction === undefined ? {} : { fraction });

/** A piece of a live message: a change of the log, or what is sent before that is written. */
export type Piece = Pick<Change, "target" | "offset" | "text" | "replace" | "progress">;

/** `message` after `piece`, which has no effect if the text does not reach its offset, or the message has ended. */
export function appended(message: Message, piece: Piece): Message {
  if (message.live !== true) return message;
  const { text: added, offset } = piece;
  const removed = added === undefined || offset === undefined; // by an edit that follows
  const text = removed ? message.text : spliced(message.text, offset, added, piece.replace === true);
  if (text === message.text && piece.progress === undefined) return message;
  return { ...message, text, ...(piece.progress !== undefined && { progress: piece.progress }) };
}

/** Whether the text of `message` reaches the offset of `piece`; what is not live has no more pieces to wait for. */
export function reaches(message: Message, piece: Piece): boolean {
  return message.live !== true || codePoints(message.text) >= (piece.offset ?? 0);
}

/** Whether `message` lacks a part of the text that `change` has saved and does not repeat. */
export function lacksText(message: Message, { kind, text, offset = 0, length }: Change): boolean {
  if (kind !== "append" || text !== undefined || length === undefined) return false;
  return message.live === true && codePoints(message.text) < offset + length;
}

/** `text` with `piece` at `offset`, in code points; the overlap of the two is dropped.
 *
 * Returns `text` itself if it does not reach `offset`: the piece between them is missing.
 */
export function spliced(text: string, offset: number, piece: string, replace = false): string {
  const overlap = codePoints(text) - offset;
  if (overlap < 0) return text;
  return replace ? text.slice(0, unitsOf(text, offset)) + piece : text + piece.slice(unitsOf(piece, overlap));
}

/** The length of `text` in code points, as Python counts it. */
export function codePoints(text: string): number {
  let count = text.length;
  for (let index = 1; index < text.length; index++) if (isPair(text, index)) count--;
  return count;
}

/** The length in UTF-16 code units of the first `count` code points of `text`. */
function unitsOf(text: string, count: number): number {
  let units = 0;
  for (; count > 0 && units < text.length; count--) units += isPair(text, units + 1) ? 2 : 1;
  return units;
}

/** Whether the code units before and at `index` are one character. */
function isPair(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xdc00 && (text.charCodeAt(index - 1) & 0xfc00) === 0xd800;
}

/** `marks`, which are the users of each key, with `user` added to those of `key` or removed from them. */
function marked(
  marks: Readonly<Record<string, readonly string[]>>,
  key: string,
  user: string,
  on: boolean,
): Record<string, readonly string[]> {
  // A Map and `fromEntries`, because "__proto__" is a valid reaction.
  const changed = new Map(Object.entries(marks));
  const others = (changed.get(key) ?? []).filter((each) => each !== user);
  changed.set(key, on ? [...others, user] : others);
  return Object.fromEntries([...changed].filter(([, users]) => users.length > 0));
}

function withStep(message: Message, { id, title, state, text, ms }: Change): Message {
  if (message.live !== true || id === undefined || title === undefined || state === undefined) return message;
  const step: Step = { id, title, state, ...(text !== undefined && { text }), ...(ms !== undefined && { ms }) };
  const steps = new Map((message.steps ?? []).map((each) => [each.id, each]));
  return { ...message, steps: [...steps.set(id, step).values()] };
}

/** `poll` after `vote`. With the last vote of the users who were asked it ends, as `expired` says. */
function withVote(poll: Message, vote: Change): Message {
  const { choice, user } = vote;
  if (choice === undefined || poll.ask === undefined || !canVote(poll, user, choice, vote.real_at ?? vote.at)) return poll;
  let votes = poll.votes ?? {};
  for (const each of Object.keys(votes)) votes = marked(votes, each, user, false);
  votes = marked(votes, choice, user, true);
  const voted = new Set(Object.values(votes).flat());
  const asked = askedUsers(poll.ask);
  const ended = asked.length > 0 && asked.every((each) => voted.has(each));
  return { ...poll, votes, ...(ended && { expired: vote.at }) };
}

/** Whether `user` may vote for `choice` at that time: the poll is open, offers it, and was put to them. */
export function canVote(poll: Message, user: string, choice: string, at: number): boolean {
  const { ask, expired } = poll;
  if (ask?.poll !== true || expired !== undefined || ask.choices?.includes(choice) !== true) return false;
  const asked = askedUsers(ask);
  return (ask.expires === undefined || at <= ask.expires) && (asked.length === 0 || asked.includes(user));
}

/** The users who may answer a question; empty if every member may. */
export function askedUsers({ from }: Ask): readonly string[] {
  return typeof from === "string" ? [from] : (from ?? []);
}

/** `question` after `reply`: the first valid answer in time counts. */
export function withAnswer(question: Message, reply: Message): Message {
  const { ask, answer, expired } = question;
  if (ask === undefined || ask.poll === true || answer !== undefined || expired !== undefined || reply.re !== question.seq) return question;
  const inTime = ask.expires === undefined || (reply.real_at ?? reply.at) <= ask.expires;
  return inTime && isValidAnswer(ask, reply) ? { ...question, answer: reply.seq } : question;
}

/** Whether `reply` comes from the user who was asked and is one of the choices; it may still be late. */
export function isValidAnswer(ask: Ask, reply: { readonly user: string; readonly choice?: string }): boolean {
  const asked = askedUsers(ask);
  if (asked.length > 0 && !asked.includes(reply.user)) return false;
  return !ask.choices?.length || (reply.choice !== undefined && ask.choices.includes(reply.choice));
}
