/** One live room: the store's state as a signal, its effects done by a source. All that a view talks to. */

import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { Media } from "./attachment-cache";
import type { Draft, Message, Part } from "../protocol/frames";
import { NoSuchPage, type Source } from "../transport/source";
import type { Effect, Input, State } from "../model/state";
import { reduce } from "../model/reducer";

const TYPING_EVERY = 3_000;

export class Room {
  /** What is attached to its messages. */
  readonly media: Media;
  readonly #source: Source;
  readonly #state: Signal<State>;
  readonly #inputs: Input[] = [];
  #scheduled = false;
  readonly #stopped = new AbortController();
  readonly #looking = new Set<unknown>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #typed = 0;

  constructor(source: Source, state: State) {
    this.#source = source;
    this.#state = signal(state);
    this.media = new Media((part, signal) => source.fetchPart(part, signal));
  }

  get state(): ReadonlySignal<State> {
    return this.#state;
  }

  start(): void {
    // A tab that is hidden between asking for a frame and getting it must not wait for it.
    document.addEventListener("visibilitychange", () => this.#flush(), { signal: this.#stopped.signal });
    this.#source.start({
      take: (inputs) => this.#take(inputs),
      cursor: () => ({ after: this.#state.value.last, epoch: this.#state.value.epoch }),
      user: () => this.#state.value.user,
    });
  }

  stop(): void {
    this.#stopped.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.media.stop();
    this.#source.stop();
  }

  // ---- verbs -------------------------------------------------------------------------------------

  /** False where nothing can be sent from here any more: the form keeps its text. */
  say(text: string, re?: Message, parts: readonly Part[] = []): boolean {
    const more = { ...(re && { re: re.seq }), ...(parts.length > 0 && { parts }) };
    return this.#draft({ type: "chat.send", ...this.#by(), text, ...more });
  }

  /** Puts `file` where messages can name it; it isn't said yet. */
  async upload(file: Blob, progress: (share: number) => void, signal: AbortSignal): Promise<Part> {
    const part = await this.#source.putPart(file, file.type, progress, signal);
    this.media.seed(part, file);
    return part;
  }

  answer(question: Message, choice: string): boolean {
    return this.#draft({ type: "chat.send", ...this.#by(), text: choice, re: question.seq, choice });
  }

  edit(message: Message, text: string): boolean {
    return this.#draft({ type: "chat.edit", ...this.#by(), target: message.seq, text });
  }

  remove(message: Message): boolean {
    return this.#draft({ type: "chat.delete", ...this.#by(), target: message.seq });
  }

  react(message: Message, emoji: string, on: boolean): boolean {
    return this.#draft({ type: "chat.react", ...this.#by(), target: message.seq, emoji, on });
  }

  retry(cid: string): boolean {
    if (this.#ended()) return false;
    this.#now({ type: "retry", cid });
    return true;
  }

  discard(cid: string): void {
    this.#now({ type: "discard", cid });
  }

  rename(user: string): void {
    this.#now({ type: "user", user });
  }

  dismiss(): void {
    this.#now({ type: "dismiss" });
  }

  /** Says "typing", at most every few seconds, and not to a kernel that is too busy to pass it on in time. */
  typing(): void {
    const { user, status, link } = this.#state.value;
    const now = Date.now();
    if (status.status !== "open" || link !== "ok" || now - this.#typed < TYPING_EVERY) return;
    this.#typed = now;
    this.#source.send({ type: "chat.typing", user });
  }

  older(): void {
    this.#now({ type: "older" });
  }

  /** `view` shows the newest message to somebody, or no longer does. Any one view is enough to have read it. */
  look(view: unknown, on: boolean): void {
    if (on) this.#looking.add(view);
    else this.#looking.delete(view);
    this.#now({ type: "attention", on: this.#looking.size > 0 });
  }

  #by(): { cid: string; user: string } {
    return { cid: newId(), user: this.#state.value.user };
  }

  #draft(draft: Draft): boolean {
    if (this.#ended()) return false;
    this.#now({ type: "draft", draft, at: Date.now() });
    return true;
  }

  #ended(): boolean {
    const { link, status } = this.#state.value;
    return this.#stopped.signal.aborted || link === "gone" || status.status === "closed";
  }

  // ---- inputs and effects ------------------------------------------------------------------------

  /** What arrives is taken once per frame. A hidden tab has no frames, and its title still counts. */
  #take(inputs: readonly Input[]): void {
    for (const input of inputs) this.#inputs.push(input);
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (document.visibilityState === "hidden") queueMicrotask(() => this.#flush());
    else requestAnimationFrame(() => this.#flush());
  }

  #now(input: Input): void {
    this.#inputs.push(input);
    this.#flush();
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#stopped.signal.aborted || this.#inputs.length === 0) return;
    const [state, effects] = reduce(this.#state.value, this.#inputs.splice(0));
    this.#state.value = state;
    for (const effect of effects) this.#do(effect);
  }

  #do(effect: Effect): void {
    switch (effect.do) {
      case "resume":
        return this.#source.resume({ after: effect.after, epoch: effect.epoch });
      case "send":
        return this.#later(effect.delay, () => this.#source.send(effect.draft));
      case "page":
      case "log":
        return this.#later(effect.delay, () => void this.#fetch(effect));
    }
  }

  async #fetch(effect: Effect & { do: "page" | "log" }): Promise<void> {
    const { id, limit } = effect;
    try {
      if (effect.do === "page") {
        this.#take([{ type: "page", id, limit, messages: await this.#source.page(effect.before, limit) }]);
      } else {
        this.#take([{ type: "log", id, limit, entries: await this.#source.log(effect.after, limit) }]);
      }
    } catch (error) {
      this.#take([{ type: "page-failed", id, final: error instanceof NoSuchPage }]);
    }
  }

  #later(delay: number, action: () => void): void {
    if (delay === 0) return action();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#stopped.signal.aborted) action();
    }, delay);
    this.#timers.add(timer);
  }
}

/**
 * The time and 80 random bits: the log's index takes ids that come in order at half the cost of scattered ones.
 * `crypto.randomUUID` would need a secure context, and a notebook may be served without.
 */
export function newId(): string {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) => byte.toString(16).padStart(2, "0"));
  return Date.now().toString(16).padStart(12, "0") + random.join("");
}
