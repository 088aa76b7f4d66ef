/** The list of messages during one call of `reduce`: copied at the first write, and only once. */

import type { Message } from "../protocol/entries";
import { appended, fold, lacksText, withAnswer } from "../protocol/folding";
import { indexOfSeq, messageBySeq, type Update } from "./state";

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

  /** Marks the questions in the list that `replies` answer. */
  markAnswers(replies: readonly Message[]): void {
    for (const reply of replies) if (reply.re !== undefined && this.get(reply.re) !== undefined) markAnswer(this.#writable(), reply);
  }

  get(seq: number): Message | undefined {
    return messageBySeq(this.messages, seq);
  }

  /** Returns false if the target is not in the list. */
  update(update: Update): boolean {
    const index = indexOfSeq(this.messages, update.target);
    const message = this.messages[index];
    if (message?.seq !== update.target) return false;
    const updated = "kind" in update ? fold(message, update) : appended(message, update);
    if (updated !== message) this.#writable()[index] = updated;
    return true;
  }

  /** Adds older messages at the start, and applies what arrived after their page was read.
   *
   * Returns false, and adds nothing, if the page was read too early: a live message in it lacks text.
   */
  prepend(page: readonly Message[], lateUpdates: readonly Update[]): boolean {
    const older = new MutableMessages(page);
    for (const update of lateUpdates) {
      const message = older.get(update.target);
      if (message !== undefined && "kind" in update && lacksText(message, update)) return false;
      older.update(update);
    }
    const copy = older.#writable();
    for (const message of this.messages) markAnswer(copy, message);
    this.#copy = [...copy, ...this.messages];
    return true;
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
