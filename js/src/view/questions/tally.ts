/** The votes of a poll, and how it ended: pure functions. */

import type { Message } from "../../protocol/entries";
import { askedUsers } from "../../protocol/folding";

export interface Option {
  readonly choice: string;
  readonly users: readonly string[];
  /** The reader's vote. */
  readonly own: boolean;
  /** One of the choices with the most votes. */
  readonly leads: boolean;
  /** Of all votes, 0 to 1. */
  readonly share: number;
}

export interface Tally {
  readonly options: readonly Option[];
  /** The number of votes. */
  readonly total: number;
}

/** `sending`: the reader's vote that the server has not confirmed yet; it counts already. */
export function tallyOf(poll: Message, user: string, sending: string | null): Tally {
  const choices = [...new Set(poll.ask?.choices ?? [])];
  const votes = choices.map((choice) => {
    const users = poll.votes !== undefined && Object.hasOwn(poll.votes, choice) ? poll.votes[choice]! : [];
    if (sending === null) return users;
    const others = users.filter((each) => each !== user);
    return choice === sending ? [...others, user] : others;
  });
  const total = votes.reduce((sum, users) => sum + users.length, 0);
  const most = Math.max(1, ...votes.map((users) => users.length));
  const options = choices.map((choice, index) => {
    const users = votes[index]!;
    return { choice, users, own: users.includes(user), leads: users.length === most, share: users.length / Math.max(total, 1) };
  });
  return { options, total };
}

/** Why the poll has ended: all who were asked have voted, it was to end then, or its author closed it. Null: it has not. */
export function pollEnd({ ask, expired, votes = {} }: Message, isOver: boolean): "all" | "time" | "closed" | null {
  if (expired === undefined) return isOver ? "time" : null;
  const asked = askedUsers(ask ?? {});
  const voted = Object.values(votes).flat();
  if (asked.length > 0 && asked.every((each) => voted.includes(each))) return "all";
  return ask?.expires != null && expired >= ask.expires ? "time" : "closed";
}
