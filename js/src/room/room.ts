/** A live room: the reducer's state as a signal, and its effects run on a source. The view talks only to this. */

import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { reduce } from "../model/reducer";
import type { KeptPosition } from "../model/reading";
import type { Effect, Input, PagePosition, State, View } from "../model/state";
import type { Attachment } from "../protocol/attachments";
import type { Draft } from "../protocol/client-frames";
import type { Message } from "../protocol/entries";
import { PageUnavailableError } from "../protocol/errors";
import type { Moderation, Order } from "../protocol/moderation";
import { newCid } from "../protocol/ids";
import type { Invite } from "../protocol/rooms";
import type { OnProgress, Source } from "../transport/source";
import { AttachmentCache } from "./attachment-cache";

/** Of one search. */
const MAX_HITS = 50;
const TYPING_INTERVAL_MS = 3_000;
/** What was read within this time is kept at once. */
const READ_INTERVAL_MS = 300;

export class Room {
  readonly attachments: AttachmentCache;
  readonly #source: Source;
  readonly #state: Signal<State>;
  readonly #inputs: Input[] = [];
  #scheduled = false;
  readonly #stopped = new AbortController();
  readonly #visibleViews = new Set<View>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #lastTypingAt = 0;
  readonly #keepRead: (position: KeptPosition) => void;
  #readTimer: ReturnType<typeof setTimeout> | undefined;

  /** `keepRead` keeps in this browser how far the reader has read, where the server does not. */
  constructor(source: Source, state: State, keepRead: (position: KeptPosition) => void = () => undefined) {
    this.#source = source;
    this.#keepRead = keepRead;
    this.#state = signal(state);
    this.attachments = new AttachmentCache((attachment, signal) => source.fetchAttachment(attachment, signal));
  }

  get state(): ReadonlySignal<State> {
    return this.#state;
  }

  start(): void {
    // A tab that is hidden after requesting an animation frame would not get it: flush at that moment.
    // And its timers may stop.
    const onVisibility = (): void => {
      this.#flush();
      if (document.visibilityState === "hidden" && this.#readTimer !== undefined) this.#saveRead();
    };
    document.addEventListener("visibilitychange", onVisibility, { signal: this.#stopped.signal });
    this.#source.start({
      dispatch: (inputs) => this.#enqueue(inputs),
      cursor: () => ({ after: this.#state.value.lastSeq, epoch: this.#state.value.epoch }),
      user: () => this.#state.value.user,
    });
  }

  stop(): void {
    this.#stopped.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    if (this.#readTimer !== undefined) this.#saveRead();
    this.attachments.stop();
    this.#source.stop();
  }

  // ---- what the view does ------------------------------------------------------------------------

  /** Like all that send a draft, returns false if nothing can be sent any more: the form then keeps its text. */
  send(text: string, re?: Message, parts: readonly Attachment[] = [], plain = false): boolean {
    const optional = { ...(re && { re: re.seq }), ...(parts.length > 0 && { parts }), ...(plain && { format: "plain" }) };
    return this.#submit({ type: "chat.send", ...this.#newDraft(), text, ...optional });
  }

  /** Stores `file`, so that messages can name it. Rejects with RequestError. */
  async upload(file: Blob, onProgress: OnProgress, signal: AbortSignal): Promise<Attachment> {
    const attachment = await this.#source.uploadAttachment(file, file.type, onProgress, signal);
    this.attachments.seed(attachment, file);
    return attachment;
  }

  answer(question: Message, choice: string): boolean {
    return this.#submit({ type: "chat.send", ...this.#newDraft(), text: choice, re: question.seq, choice });
  }

  /** Counts instead of an earlier vote, also instead of one that failed. */
  vote(poll: Message, choice: string): boolean {
    for (const { cid, draft, state } of this.#state.value.pending) {
      if (draft.type === "chat.vote" && draft.target === poll.seq && state === "failed") this.discard(cid);
    }
    return this.#submit({ type: "chat.vote", ...this.#newDraft(), target: poll.seq, choice });
  }

  edit(message: Message, text: string): boolean {
    return this.#submit({ type: "chat.edit", ...this.#newDraft(), target: message.seq, text });
  }

  remove(message: Message): boolean {
    return this.#submit({ type: "chat.delete", ...this.#newDraft(), target: message.seq });
  }

  react(message: Message, emoji: string, on: boolean): boolean {
    return this.#submit({ type: "chat.react", ...this.#newDraft(), target: message.seq, emoji, on });
  }

  /** Pins a message for all members, or unpins it; for what does not know pins it is a reaction. */
  pin(message: Message, on: boolean): boolean {
    return this.#submit({ type: "chat.react", ...this.#newDraft(), target: message.seq, emoji: "📌", on, pin: true });
  }

  /** Asks the author of a live message to end it. Returns false if nothing can be sent now. */
  stopMessage({ seq: target }: Message): boolean {
    const { user, status } = this.#state.value;
    if (this.#hasEnded() || status.status !== "open") return false;
    if (!this.#source.send({ type: "chat.stop", target, user })) return false;
    this.#dispatch({ type: "stop", target, user });
    return true;
  }

  retry(cid: string): boolean {
    if (this.#hasEnded()) return false;
    this.#dispatch({ type: "retry", cid });
    return true;
  }

  discard(cid: string): void {
    this.#dispatch({ type: "discard", cid });
  }

  rename(user: string): void {
    this.#dispatch({ type: "user", user });
  }

  /** Lists the reader under their new name at once. */
  announceName(): void {
    const { user, status, comm } = this.#state.value;
    if (status.status === "open" && comm === "ok" && user.trim() !== "") this.#source.send({ type: "chat.typing", user, on: false });
  }

  dismissNotice(): void {
    this.#dispatch({ type: "dismiss" });
  }

  /** Sends "typing" at most every three seconds, and never to a busy kernel, which would pass it on too late. */
  typing(): void {
    const { user, status, comm } = this.#state.value;
    const now = Date.now();
    if (status.status !== "open" || comm !== "ok" || now - this.#lastTypingAt < TYPING_INTERVAL_MS) return;
    this.#lastTypingAt = now;
    this.#source.send({ type: "chat.typing", user });
  }

  /** Loads messages before those that `view` shows, or after them. */
  load(view: View, type: "older" | "newer"): void {
    this.#dispatch({ type, view });
  }

  /** Makes `view` show the message with the seq `around`, or the first one since the time `at`. */
  jump(view: View, to: PagePosition): void {
    this.#dispatch({ type: "jump", view, to });
  }

  /** Makes `view` show the newest messages again. */
  showLatest(view: View): void {
    this.#dispatch({ type: "latest", view });
  }

  /** The newest messages of the whole room that contain all of `words`, newest first. Rejects with an Error. */
  async search(words: string, signal: AbortSignal): Promise<Message[]> {
    return (await this.#source.search(words, MAX_HITS, signal)).reverse();
  }

  /** Whether `view` shows the newest message to the reader. One of several views is enough to have read it. */
  setVisible(view: View, visible: boolean): void {
    if (visible) this.#visibleViews.add(view);
    else this.#visibleViews.delete(view);
    this.#dispatch({ type: "visibility", visible: this.#visibleViews.size > 0 });
  }

  /** The address of the room's page, for the people that `invite` describes. Rejects with an Error. */
  link(invite: Invite | null = null): Promise<string> {
    return this.#source.fetchLink(invite);
  }

  /** Gives a moderator's order, if there is one. Resolves to what is in force; rejects with RequestError. */
  moderate(order: Order | null = null): Promise<Moderation> {
    return this.#source.moderate(order);
  }

  #newDraft(): { cid: string; user: string } {
    const { user, clients } = this.#state.value;
    return { cid: newCid(clients[0]!), user };
  }

  #submit(draft: Draft): boolean {
    if (this.#hasEnded()) return false;
    this.#dispatch({ type: "draft", draft, at: Date.now() });
    if (draft.type === "chat.send") this.#lastTypingAt = 0; // sending ends "typing" for the others
    return true;
  }

  #hasEnded(): boolean {
    const { comm, status } = this.#state.value;
    return this.#stopped.signal.aborted || comm === "gone" || status.status === "closed";
  }

  // ---- inputs and effects ------------------------------------------------------------------------

  /** What arrives is reduced once per animation frame; a hidden tab has none, but its title shows what is unread. */
  #enqueue(inputs: readonly Input[]): void {
    for (const input of inputs) this.#inputs.push(input);
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (document.visibilityState === "hidden") queueMicrotask(() => this.#flush());
    else requestAnimationFrame(() => this.#flush());
  }

  #dispatch(input: Input): void {
    this.#inputs.push(input);
    this.#flush();
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#stopped.signal.aborted || this.#inputs.length === 0) return;
    const [state, effects] = reduce(this.#state.value, this.#inputs.splice(0), Date.now());
    this.#state.value = state;
    for (const effect of effects) this.#run(effect);
  }

  #run(effect: Effect): void {
    switch (effect.do) {
      case "read":
        this.#readTimer ??= setTimeout(() => this.#saveRead(), READ_INTERVAL_MS);
        return;
      case "resume":
        return this.#source.resume({ after: effect.after, epoch: effect.epoch });
      case "send":
        return this.#schedule(effect.delay, () => this.#source.send(effect.draft));
      case "page":
      case "log":
        return this.#schedule(effect.delay, () => void this.#fetch(effect));
    }
  }

  #saveRead(): void {
    clearTimeout(this.#readTimer);
    this.#readTimer = undefined;
    const { epoch, reading } = this.#state.value;
    if (reading.seq === null || epoch === null) return;
    if (!reading.onServer) this.#keepRead({ epoch, seq: reading.seq });
    else if (!this.#hasEnded()) this.#source.send({ type: "chat.read", seq: reading.seq });
  }

  async #fetch(effect: Effect & { do: "page" | "log" }): Promise<void> {
    const { id, limit } = effect;
    try {
      if (effect.do === "page") {
        this.#enqueue([{ type: "page", id, limit, messages: await this.#source.fetchPage(effect.position, limit) }]);
      } else {
        this.#enqueue([{ type: "log", id, limit, entries: await this.#source.fetchLog(effect.after, limit) }]);
      }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#enqueue([{ type: "page-failed", id, permanent: error instanceof PageUnavailableError, message }]);
    }
  }

  #schedule(delay: number, action: () => void): void {
    if (delay === 0) return action();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#stopped.signal.aborted) action();
    }, delay);
    this.#timers.add(timer);
  }
}
