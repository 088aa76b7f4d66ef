/** The part of the reducer that moves views to messages: it loads the stretches of the log around them.
 *
 * A stretch that reaches the newest messages is joined to them, and the view then shows those again.
 */

import type { Change, Message } from "../protocol/entries";
import type { AppendFrame } from "../protocol/server-frames";
import { excerptOf, nearest, NO_EXCERPT } from "./excerpt";
import { MutableMessages } from "./mutable-messages";
import { ReadingReducer } from "./reading-reducer";
import { PAGE_RETRY_DELAY_MS, PAGE_SIZE, type Excerpt, type PagePosition, type Update, type View } from "./state";

type ExcerptRequest = NonNullable<Excerpt["request"]>;

export class ExcerptReducer extends ReadingReducer {
  /** A message that is loaded is shown at once. */
  protected jump(view: View, to: PagePosition): void {
    const excerpt = excerptOf(this.state, view);
    const shown = excerpt.messages ?? this.list.messages;
    const complete = excerpt.messages === null ? this.state.complete : excerpt.complete;
    const found = loaded(shown, complete, to);
    if (found !== undefined) return this.#set(view, { ...excerpt, request: null, target: { seq: found.seq } });
    const newer = loaded(this.list.messages, this.state.complete, to);
    if (newer !== undefined) return this.#set(view, { ...NO_EXCERPT, target: { seq: newer.seq } });
    this.#request(view, excerpt, "jump", to);
  }

  /** Shows the newest messages again. */
  protected latest(view: View): void {
    const { excerpts } = this.state;
    if (excerpts.has(view)) this.set({ excerpts: new Map([...excerpts].filter(([each]) => each !== view)) });
  }

  /** Loads messages before or after those that the view shows; false if these are the newest ones. */
  protected extend(view: View, kind: "older" | "newer"): boolean {
    const excerpt = excerptOf(this.state, view);
    const { messages, complete, request } = excerpt;
    const [first, last] = [messages?.[0], messages?.at(-1)];
    if (first === undefined || last === undefined) return false;
    if (request === null && (kind === "newer" || !complete)) {
      this.#request(view, excerpt, kind, kind === "older" ? { before: first.seq } : { after: last.seq });
    }
    return true;
  }

  /** The seqs of another epoch refer to other messages. */
  protected dropExcerpts(): void {
    this.set({ excerpts: new Map() });
  }

  /** Loads what is shown again, because changes may have been missed. */
  protected refreshExcerpts(): void {
    for (const [view, excerpt] of this.state.excerpts) {
      const middle = excerpt.messages?.[excerpt.messages.length >>> 1];
      if (middle !== undefined) this.#request(view, excerpt, "refresh", { around: middle.seq });
    }
  }

  /** A message in any list: the newest ones, or what a view shows. */
  protected find(seq: number): Message | undefined {
    return this.list.get(seq) ?? [...this.state.excerpts.values()].map((each) => messageOf(each, seq)).find(Boolean);
  }

  protected updateExcerpts(update: Update): void {
    this.#edit((messages) => void messages.update(update));
  }

  protected answerInExcerpts(message: Message): void {
    if (message.re !== undefined) this.#edit((messages) => messages.markAnswers([message]));
  }

  /** A page that is being fetched may have been read before this was written. */
  protected late(update: Change | AppendFrame): void {
    if (this.#isFetching()) this.set({ lateUpdates: [...this.state.lateUpdates, update] });
  }

  /** Forgets late updates when no page that may lack them is being fetched. */
  protected forgetLate(): void {
    if (!this.#isFetching()) this.set({ lateUpdates: [] });
  }

  /** Returns false if no view asked for this page. */
  protected excerptPage(id: number, page: readonly Message[], limit: number): boolean {
    const [view, excerpt, request] = this.#requested(id);
    if (view === undefined) return false;
    const added = new MutableMessages([]);
    if (!added.prepend([...page].sort((a, b) => a.seq - b.seq), this.state.lateUpdates)) {
      this.#request(view, excerpt, request.kind, request.position, PAGE_RETRY_DELAY_MS);
      return true;
    }
    added.markAnswers(this.list.messages);
    this.#set(view, this.#extended(excerpt, request, added.messages, limit));
    this.forgetLate();
    return true;
  }

  /** Returns false if no view asked for this page. */
  protected excerptFailed(id: number, permanent: boolean, message: string): boolean {
    const [view, excerpt, request] = this.#requested(id);
    if (view === undefined) return false;
    if (request.kind === "jump") {
      this.#set(view, { ...excerpt, request: null });
      this.set({ notice: { code: "not_loaded", message } });
    } else if (!permanent) {
      this.#request(view, excerpt, request.kind, request.position, PAGE_RETRY_DELAY_MS);
    }
    return true; // after a permanent failure the request stays, so that it is not made again at once
  }

  #extended(excerpt: Excerpt, { kind, position }: ExcerptRequest, page: readonly Message[], limit: number): Excerpt {
    const { oldestSeq } = this.state;
    const before = kind === "older" || kind === "newer" ? (excerpt.messages ?? []) : [];
    const [first = Infinity, last = 0] = [before[0]?.seq, before.at(-1)?.seq];
    const messages =
      kind === "older"
        ? [...page.filter(({ seq }) => seq < first), ...before]
        : [...before, ...page.filter(({ seq }) => seq > last)];
    const complete =
      (kind === "newer" && excerpt.complete) || (kind === "older" && page.length < limit) || (messages[0]?.seq ?? 0) <= oldestSeq;
    const found = kind === "jump" ? nearest(messages, position) : undefined;
    const target = found === undefined ? excerpt.target : { seq: found.seq };
    const newest = this.list.firstSeq;
    if (newest === undefined || (messages.at(-1)?.seq ?? 0) < newest) {
      return { messages: messages.length === 0 ? null : messages, complete, request: null, target };
    }
    this.list.prepend(messages.filter(({ seq }) => seq < newest), []);
    if (messages[0]!.seq < newest) this.set({ complete });
    return { ...NO_EXCERPT, target };
  }

  #request(view: View, excerpt: Excerpt, kind: ExcerptRequest["kind"], position: PagePosition, delay = 0): void {
    const id = this.state.requestCount + 1;
    this.set({ requestCount: id });
    this.#set(view, { ...excerpt, request: { id, kind, position } });
    this.effects.push({ do: "page", id, position, limit: PAGE_SIZE, delay });
  }

  #requested(id: number): [View, Excerpt, ExcerptRequest] | [undefined, undefined, undefined] {
    for (const [view, excerpt] of this.state.excerpts) {
      if (excerpt.request?.id === id) return [view, excerpt, excerpt.request];
    }
    return [undefined, undefined, undefined];
  }

  #set(view: View, excerpt: Excerpt): void {
    this.set({ excerpts: new Map([...this.state.excerpts, [view, excerpt]]) });
  }

  #edit(edit: (messages: MutableMessages) => void): void {
    for (const [view, excerpt] of this.state.excerpts) {
      if (excerpt.messages === null) continue;
      const messages = new MutableMessages(excerpt.messages);
      edit(messages);
      if (messages.messages !== excerpt.messages) this.#set(view, { ...excerpt, messages: messages.messages });
    }
  }

  #isFetching(): boolean {
    return this.state.request !== null || [...this.state.excerpts.values()].some(({ request }) => request !== null);
  }
}

const messageOf = ({ messages }: Excerpt, seq: number): Message | undefined => messages?.find((each) => each.seq === seq);

/** The message to go to, if it is certain that none that is not loaded is meant. */
function loaded(messages: readonly Message[], complete: boolean, to: PagePosition): Message | undefined {
  const found = nearest(messages, to);
  if (found === undefined) return undefined;
  if (to.around !== undefined) return found.seq === to.around ? found : undefined;
  const at = to.at ?? 0;
  return found.at >= at && (complete || messages[0]!.at < at) ? found : undefined;
}
