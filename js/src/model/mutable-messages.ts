/** The list of messages during one turn of the store: the log's tail, copied once, however much is done to it. */

import { answered, fold, type Change, type Message } from "../protocol/frames";
import { indexOf } from "./state";

export class Tail {
  #messages: readonly Message[];
  /** The copy this turn may write to; null until it needs one. */
  #own: Message[] | null = null;

  constructor(messages: readonly Message[]) {
    this.#messages = messages;
  }

  get messages(): readonly Message[] {
    return this.#own ?? this.#messages;
  }

  get first(): number | undefined {
    return this.messages[0]?.seq;
  }

  append(message: Message): void {
    const own = this.#writable();
    answerIn(own, message);
    own.push(message);
  }

  /** False where the message it changes isn't in the list. */
  change(change: Change): boolean {
    const index = indexOf(this.messages, change.target);
    if (this.messages[index]?.seq !== change.target) return false;
    const own = this.#writable();
    own[index] = fold(own[index]!, change);
    return true;
  }

  /** Puts older messages in front, with what has happened to them since that page was read. */
  prepend(page: readonly Message[], late: readonly Change[]): void {
    const older = new Tail(page);
    for (const change of late) older.change(change);
    const own = older.#writable();
    for (const message of this.messages) answerIn(own, message);
    this.#own = [...own, ...this.messages];
  }

  /** Lets go of all but the newest `count`. */
  keep(count: number): void {
    this.#own = this.messages.slice(-count);
  }

  replace(messages: readonly Message[]): void {
    this.#messages = messages;
    this.#own = null;
  }

  #writable(): Message[] {
    this.#own ??= [...this.#messages];
    return this.#own;
  }
}

/** Marks the question that `reply` answers, where it is in the list. */
function answerIn(messages: Message[], reply: Message): void {
  if (reply.re === undefined) return;
  const index = indexOf(messages, reply.re);
  const question = messages[index];
  if (question?.seq === reply.re) messages[index] = answered(question, reply);
}
