/** The list of messages during one call of `reduce`: copied at the first write, and only once. */

import type { Change, Message } from "../protocol/entries";
import { fold, withAnswer } from "../protocol/folding";
import { indexOfSeq } from "./state";

export class MutableMessages {
  #messages: readonly Message[];
  #copy: Message[] | null = null;

  constructor(messages: readonly Message[]) {
    this.#messages = messages;
  }

  get messages(): readonly Message[] {
    return this.#copy ?? this.#messages;
  }

  get firstSeq(): number | undefined {
    return this.messages[0]?.seq;
  }

  append(message: Message): void {
    const copy = this.#writable();
    markAnswer(copy, message);
    copy.push(message);
  }

  /** Returns false if the target is not in the list. */
  change(change: Change): boolean {
    const index = indexOfSeq(this.messages, change.target);
    if (this.messages[index]?.seq !== change.target) return false;
    const copy = this.#writable();
    copy[index] = fold(copy[index]!, change);
    return true;
  }

  /** Adds older messages at the start, and applies the changes that arrived after their page was read. */
  prepend(page: readonly Message[], lateChanges: readonly Change[]): void {
    const older = new MutableMessages(page);
    for (const change of lateChanges) older.change(change);
    const copy = older.#writable();
    for (const message of this.messages) markAnswer(copy, message);
    this.#copy = [...copy, ...this.messages];
  }

  keepNewest(count: number): void {
    this.#copy = this.messages.slice(-count);
  }

  replace(messages: readonly Message[]): void {
    this.#messages = messages;
    this.#copy = null;
  }

  #writable(): Message[] {
    this.#copy ??= [...this.#messages];
    return this.#copy;
  }
}

/** Marks the question that `reply` answers, if it is in the list. */
function markAnswer(messages: Message[], reply: Message): void {
  if (reply.re === undefined) return;
  const index = indexOfSeq(messages, reply.re);
  const question = messages[index];
  if (question?.seq === reply.re) messages[index] = withAnswer(question, reply);
}
