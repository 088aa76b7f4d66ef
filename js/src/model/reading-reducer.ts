/** The part of the reducer that knows what the reader has read. */

import type { Message } from "../protocol/entries";
import type { Hello, Status } from "../protocol/server-frames";
import { DraftReducer } from "./draft-reducer";
import { welcomed } from "./hello";
import { MutableMessages } from "./mutable-messages";
import { opened } from "./reading";
import { isOwn, type State } from "./state";
import { afterVisibility, NO_UNREAD, withUnread, type Unread } from "./unread";

export class ReadingReducer extends DraftReducer {
  /** The messages of `state`, until the batch ends. */
  readonly list: MutableMessages;
  protected readonly now: number | undefined;

  constructor(state: State, now?: number) {
    super(state);
    this.now = now;
    this.list = new MutableMessages(state.messages);
  }

  protected countUnread(message: Message, isNew: boolean): void {
    const { latestVisible, unread } = this.state;
    if (latestVisible || isOwn(this.state, message)) return;
    this.set({ unread: withUnread(unread, message.seq, isNew) });
  }

  protected visibility(visible: boolean): void {
    if (visible === this.state.latestVisible) return;
    this.set({ latestVisible: visible, unread: afterVisibility(this.state.unread, visible) });
  }

  /** At the end of a batch. */
  readLatest(): void {
    const { reading, latestVisible } = this.state;
    const seq = this.list.messages.at(-1)?.seq ?? 0;
    const known = reading.onServer ? reading.seq : reading.saved; // at a first visit nothing is kept yet
    if (!latestVisible || reading.seq === null || seq <= (known ?? 0)) return;
    this.effects.push({ do: "read", seq });
    this.set({ reading: { ...reading, seq, saved: reading.onServer ? reading.saved : seq } });
  }

  /** The server has the position `seq`, from this window or another one. */
  protected read(seq: number): void {
    const { reading, unread, latestVisible } = this.state;
    const saved = Math.max(seq, reading.saved);
    this.set({ reading: { ...reading, saved, seq: Math.max(saved, reading.seq ?? 0) } });
    if (seq <= (reading.seq ?? 0)) return;
    const { firstSeq, count } = unreadAfter(this.state, this.list.messages, seq);
    this.set({ unread: { firstSeq: latestVisible ? unread.firstSeq : firstSeq, count } });
  }

  protected saveRead(): void {
    const { seq, saved } = this.state.reading;
    if (seq !== null && seq > saved) this.effects.push({ do: "read", seq });
  }

  protected showUnread(): void {
    this.set({ unread: unreadAfter(this.state, this.list.messages, this.state.reading.openedAt) });
  }

  protected status(status: Status): void {
    const reopened = status.status === "open" && this.state.status.status !== "open";
    this.set({ status });
    if (reopened) this.saveRead();
  }

  protected welcome(hello: Hello): void {
    const first = this.state.reading.seq === null || hello.epoch !== this.state.epoch;
    this.set(welcomed(this.state, hello, this.now));
    if (!first) {
      if (hello.read == null) return;
      this.set({ reading: { ...this.state.reading, onServer: true } });
      return this.read(hello.read);
    }
    this.set({ reading: opened(this.state.reading, hello) });
    this.showUnread();
  }
}

/** `state` with the position of a hello, or of the page's HTML, and what is unread from there. */
export function openedAt(state: State, hello: Pick<Hello, "epoch" | "read" | "seq">): State {
  const reading = opened(state.reading, hello);
  return { ...state, reading, unread: unreadAfter(state, state.messages, reading.openedAt) };
}

/** The messages of others after `after`. Someone who has never read here gets no divider above everything. */
function unreadAfter(state: State, messages: readonly Message[], after: number): Unread {
  if (after === 0) return NO_UNREAD;
  const isUnread = (each: Message): boolean => each.seq > after && !each.deleted && !each.live && !isOwn(state, each);
  const found = messages.filter(isUnread);
  return { firstSeq: found[0]?.seq ?? null, count: state.latestVisible ? 0 : found.length };
}
