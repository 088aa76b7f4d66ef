/** What each row of the list shows: which message starts a group, a day, or the unread messages. */

import { formatDay, isSameDay } from "../../i18n/format";
import { isOwn, messageBySeq, type State } from "../../model/state";
import type { Message } from "../../protocol/entries";
import { isValidAnswer } from "../../protocol/folding";
import { isFromProgram } from "../../protocol/ids";
import type { Profile } from "../../protocol/server-frames";
import { verificationOf, type Verification } from "../shared/verification-badge";

/** Messages of one author within this time of each other form a group, under one name. */
const GROUP_INTERVAL_MS = 5 * 60_000;

export interface Row {
  readonly message: Message;
  /** The reader's, or their kernel's: can be edited. */
  readonly own: boolean;
  /** The reader wrote it: it is on their side. */
  readonly mine: boolean;
  /** What wrote it, if it was not a person. */
  readonly program: "kernel" | "yourKernel" | "agent" | null;
  readonly verification: Verification;
  /** Of a verified author. */
  readonly profile: Profile | null;
  /** Shows avatar and name. */
  readonly startsGroup: boolean;
  readonly endsGroup: boolean;
  /** Shows its time. */
  readonly timed: boolean;
  /** The name of the day, for the divider above. */
  readonly day: string | null;
  /** The first unread message: a divider is above. */
  readonly unread: boolean;
  /** The message that it replies to, if that is in the list. */
  readonly quoted: Message | null;
  /** Of a question: the answer that counts, if that is in the list. */
  readonly answer: Message | null;
  /** Of a question with an end: when that is by the reader's clock, in milliseconds since the epoch. */
  readonly endsAt: number | null;
  /** Of an answer that does not count: the key of the string that says why. */
  readonly rejectedAs: "lateAnswer" | "secondAnswer" | null;
  /** Its author was asked to stop. */
  readonly stopping: boolean;
}


function rejectionOf(reply: Message, question: Message | null): Row["rejectedAs"] {
  if (question?.ask === undefined || question.answer === reply.seq || !isValidAnswer(question.ask, reply)) return null;
  return question.answer !== undefined && question.answer < reply.seq ? "secondAnswer" : "lateAnswer";
}

export function rowsOf(state: State, start: number, end: number, now: number): Row[] {
  const { messages, unread, principal, profiles } = state;
  const shown = messages.slice(start, end);
  const mixed = principal !== null || [...state.members, ...shown].some(({ verified }) => verified);
  return shown.map((message, offset): Row => {
    const before = messages[start + offset - 1];
    const after = messages[start + offset + 1];
    const newDay = before === undefined || !isSameDay(before.at, message.at);
    const quoted = message.re === undefined ? null : (messageBySeq(messages, message.re) ?? null);
    const own = isOwn(state, message);
    const program = programOf(state, message);
    const isUnread = unread.firstSeq === message.seq;
    const endsGroup = after === undefined || unread.firstSeq === after.seq || !isSameGroup(state, message, after);
    return {
      message,
      own,
      mine: own && program === null,
      program,
      verification: verificationOf(message.verified, mixed),
      profile: message.verified ? (profiles.get(message.user) ?? null) : null,
      startsGroup: newDay || isUnread || !isSameGroup(state, before, message),
      endsGroup,
      timed: endsGroup || intervalOf(message) !== intervalOf(after),
      day: newDay && (before !== undefined || state.complete) ? formatDay(message.at, now) : null,
      unread: isUnread,
      quoted,
      answer: message.answer === undefined ? null : (messageBySeq(messages, message.answer) ?? null),
      endsAt: message.ask?.expires == null ? null : message.ask.expires - state.clockOffset,
      rejectedAs: rejectionOf(message, quoted),
      stopping: state.stopping.has(message.seq),
    };
  });
}

/** A long group shows a time in each of these intervals. */
const intervalOf = ({ at }: Message): number => Math.floor(at / GROUP_INTERVAL_MS);

/** A person and their kernel may have one name: the id of the message tells them apart. */
function programOf(state: State, message: Message): Row["program"] {
  const { user, cid = "", author_kind } = message;
  if (author_kind === "agent") return "agent";
  const sent = isFromProgram(cid);
  if (sent === false) return null;
  if (!sent && !state.kernels.has(user)) return null;
  return isOwn(state, message) ? "yourKernel" : "kernel";
}

function isSameGroup(state: State, a: Message, b: Message): boolean {
  const sameAuthor =
    a.user === b.user &&
    a.verified === b.verified &&
    isOwn(state, a) === isOwn(state, b) &&
    programOf(state, a) === programOf(state, b);
  return sameAuthor && b.at - a.at < GROUP_INTERVAL_MS && isSameDay(a.at, b.at);
}
