/** Computes the room's state: `reduce(state, inputs) -> [state, effects]`, without clock, socket or DOM.
 *
 * The client rule of chat.v1: an entry at or below `lastSeq` is dropped, an entry whose `prev` is `lastSeq` is
 * accepted, and any other entry causes a resume from `lastSeq`; a new epoch reloads. A gap is filled over REST:
 * with raw log entries if it is short, otherwise by loading the newest messages again. So `messages` is always the
 * tail of the log, even if the network lost, duplicated or reordered frames.
 *
 * The pieces of a live message are folded in as they arrive. A lost piece shows when the log saves it: the entry then
 * has only the length of text that the message lacks, and is replayed, with its text, by a resume.
 */

import { isChange, type Change, type Entry, type Message } from "../protocol/entries";
import { lacksText, reaches } from "../protocol/folding";
import type { AppendFrame, ChangeFrame, Gap, Hello, MessageFrame, ServerFrame } from "../protocol/server-frames";
import * as pending from "./pending";
import { membersAfter, withMembers } from "./presence";
import { PinsReducer } from "./pins-reducer";
import { readSnapshot } from "./snapshot";
import { isOwn, KEPT_MESSAGES, LOG_PAGE_SIZE, MAX_GAP_SEQS, MAX_HELD_FRAMES, PAGE_RETRY_DELAY_MS, PAGE_SIZE } from "./state";
import type { Effect, Input, PageRequest, State } from "./state";
import { NO_UNREAD } from "./unread";

/** Applies a batch of inputs that arrived at `now`; the message list is copied at most once per batch. */
export function reduce(state: State, inputs: readonly Input[], now?: number): [State, Effect[]] {
  const reducer = new Reducer(state, now);
  for (const input of inputs) reducer.apply(input);
  reducer.readLatest();
  const { messages } = reducer.list;
  // A batch that changes nothing returns the same object, so that the view does not render.
  return [messages === reducer.state.messages ? reducer.state : { ...reducer.state, messages }, reducer.effects];
}

class Reducer extends PinsReducer {
  apply(input: Input): void {
    switch (input.type) {
      case "hello":
        return this.#hello(input);
      case "message":
      case "change":
        return this.#entry(input);
      case "append":
        return this.#piece(input);
      case "stop":
        return this.#stop(input.target);
      case "synced":
        return this.#synced(input.seq);
      case "gap":
        return this.#gap(input);
      case "ack":
        return this.set({ pending: pending.acknowledged(this.state.pending, input, this.state.lastSeq) });
      case "error":
        return this.rejected(input);
      case "presence":
        return this.set(withMembers(this.state, membersAfter(this.state.members, input)));
      case "read":
        return this.read(input.seq);
      case "status":
        return this.status(input);
      case "snapshot":
        return this.#snapshot(input.frames);
      case "page":
        return this.#page(input);
      case "log":
        return this.#log(input);
      case "page-failed":
        return this.#pageFailed(input);
      case "older":
      case "newer":
        return this.extend(input.view, input.type) || input.type === "newer" ? undefined : this.#requestOlder();
      case "latest":
        return this.latest(input.view);
      case "jump":
        return this.jump(input.view, input.to);
      case "draft":
        return this.draft(input.draft, input.at);
      case "retry":
        return this.retry(input.cid);
      case "discard":
        return this.set({ pending: pending.without(this.state.pending, input.cid) });
      case "undeliverable":
        return this.set({ pending: pending.allFailed(this.state.pending, input.error) });
      case "comm":
        return this.set({ comm: input.status });
      case "user":
        return this.set({ user: input.user });
      case "visibility":
        return this.visibility(input.visible);
      case "dismiss":
        return this.set({ notice: null });
      case "bye": // handled by the source
      case "echo":
        return;
    }
  }

  // ---- the chain of entries ----------------------------------------------------------------------

  #hello(hello: Hello): void {
    this.welcome(hello);
    this.set({ resuming: false, stopping: new Set() });
    if (hello.epoch !== this.state.epoch) {
      this.set({ epoch: hello.epoch });
      this.#reload(hello.seq, true);
    }
    this.resendUnacknowledged();
  }

  #entry(frame: MessageFrame | ChangeFrame): void {
    const { lastSeq, request, resuming, epoch } = this.state;
    const { entry, prev } = frame;
    if (epoch === null) return;
    if (entry.seq <= lastSeq) return this.confirm(entry);
    if (request?.kind === "log") return this.#hold(frame);
    if ((prev === undefined || prev === lastSeq) && !this.#lacks(entry)) return this.#accept(entry);
    if (resuming) return;
    this.set({ resuming: true });
    this.effects.push({ do: "resume", after: lastSeq, epoch });
  }

  #lacks(entry: Entry): boolean {
    const message = isChange(entry) ? this.find(entry.target) : undefined;
    return message !== undefined && isChange(entry) && lacksText(message, entry);
  }

  #hold(frame: MessageFrame | ChangeFrame | AppendFrame): void {
    const { heldFrames } = this.state;
    if (heldFrames.length < MAX_HELD_FRAMES) this.set({ heldFrames: [...heldFrames, frame] });
  }

  #accept(entry: Entry): void {
    this.set({ lastSeq: entry.seq });
    if (isChange(entry)) this.#change(entry);
    else this.#append(entry);
    this.confirm(entry);
  }

  #append(message: Message): void {
    const { latestVisible, request } = this.state;
    this.list.append(message);
    this.answerInExcerpts(message);
    if (latestVisible && request === null && this.list.messages.length > KEPT_MESSAGES * 1.5) {
      this.list.keepNewest(KEPT_MESSAGES);
      this.set({ complete: false });
    }
    if (isOwn(this.state, message)) this.set({ unread: NO_UNREAD });
    else this.countUnread(message, true);
  }

  #change(change: Change): void {
    const before = this.list.get(change.target);
    this.updateExcerpts(change);
    this.pinsAfter(change);
    if (before === undefined) return this.late(change);
    this.list.update(change);
    // The reader may have left while it was written.
    if (before.live === true && change.kind === "end") this.countUnread(before, false);
  }

  #piece(piece: AppendFrame): void {
    const message = this.find(piece.target);
    const filling = this.state.request?.kind === "log";
    if (filling && (message === undefined || !reaches(message, piece))) return this.#hold(piece);
    this.updateExcerpts(piece);
    if (!this.list.update(piece)) this.late(piece);
  }

  #stop(target: number): void {
    this.set({ stopping: new Set([...this.state.stopping, target]) });
  }

  #synced(seq: number): void {
    const { lastSeq, epoch, request } = this.state;
    if (seq < lastSeq || request?.kind === "log") return;
    this.set({ resuming: seq > lastSeq });
    if (seq > lastSeq) this.effects.push({ do: "resume", after: lastSeq, epoch });
  }

  #gap(gap: Gap): void {
    const { lastSeq, request, loaded } = this.state;
    if (gap.reason === "epoch") return this.#missed(gap.to, true);
    if (gap.to <= lastSeq || request?.kind === "log") return;
    if (!loaded || gap.reason === "trimmed" || gap.to - lastSeq > MAX_GAP_SEQS) return this.#missed(gap.to);
    this.#requestPage({ kind: "log", to: gap.to });
  }

  // ---- pages -------------------------------------------------------------------------------------

  /** Entries were missed that can't be had any more. */
  #missed(lastSeq: number, newEpoch = false): void {
    this.#reload(lastSeq, newEpoch);
    this.refreshPins();
  }

  /** Loads the newest messages again; the log ends at `lastSeq`. */
  #reload(lastSeq: number, newEpoch = false): void {
    if (newEpoch) this.dropExcerpts();
    this.list.replace([]);
    this.set({
      lastSeq,
      complete: lastSeq === 0,
      loaded: lastSeq === 0,
      heldFrames: [],
      resuming: false,
      request: null,
      unread: NO_UNREAD,
      reading: { ...this.state.reading, openedAt: this.state.reading.seq ?? 0 },
      pending: pending.confirmedUpTo(this.state.pending, lastSeq),
    });
    this.forgetLate();
    this.refreshExcerpts();
    if (lastSeq > 0) this.#requestPage({ kind: "tail" });
  }

  #requestOlder(): void {
    const { complete, loaded, request } = this.state;
    if (loaded && !complete && request === null) this.#requestPage({ kind: "older" });
  }

  #requestPage(request: Omit<PageRequest, "id">, delay = 0): void {
    const id = this.state.requestCount + 1;
    this.set({ request: { ...request, id }, requestCount: id });
    const { lastSeq } = this.state;
    if (request.kind === "log") {
      this.effects.push({ do: "log", id, after: lastSeq, limit: LOG_PAGE_SIZE, delay });
    } else {
      const position = request.kind === "tail" ? {} : { before: this.list.firstSeq ?? lastSeq + 1 };
      this.effects.push({ do: "page", id, position, limit: PAGE_SIZE, delay });
    }
  }

  #page(input: { id: number; messages: readonly Message[]; limit: number }): void {
    const { request, lastSeq, lateUpdates, oldestSeq } = this.state;
    if (this.pinsPage(input.id, input.messages) || this.excerptPage(input.id, input.messages, input.limit)) return;
    if (request?.id !== input.id) return;
    const first = this.list.firstSeq ?? lastSeq + 1;
    const older = input.messages.filter(({ seq }) => seq < first).sort((a, b) => a.seq - b.seq);
    if (!this.list.prepend(older, lateUpdates)) return this.#requestPage(request, PAGE_RETRY_DELAY_MS);
    const complete = input.messages.length < input.limit || (this.list.firstSeq ?? 0) <= oldestSeq;
    this.set({ complete, loaded: true, request: null });
    this.forgetLate();
    if (this.state.reading.openedAt < first - 1) this.showUnread();
  }

  #log(input: { id: number; entries: readonly Entry[]; limit: number }): void {
    const { request } = this.state;
    if (request?.kind !== "log" || request.id !== input.id) return;
    for (const entry of input.entries) if (entry.seq > this.state.lastSeq) this.#accept(entry);
    const to = request.to ?? 0;
    if (this.state.lastSeq < to && input.entries.length === input.limit) return this.#requestPage(request);
    const { heldFrames } = this.state;
    this.set({ request: null, heldFrames: [], lastSeq: Math.max(this.state.lastSeq, to) });
    this.forgetLate();
    for (const frame of heldFrames) this.apply(frame);
  }

  #pageFailed(input: { id: number; permanent: boolean; message: string }): void {
    const { request, lastSeq } = this.state;
    if (this.pinsFailed(input.id, input.permanent) || this.excerptFailed(input.id, input.permanent, input.message)) return;
    if (request?.id !== input.id) return;
    if (request.kind === "log" && input.permanent) return this.#missed(Math.max(lastSeq, request.to ?? 0));
    if (request.kind === "older" || input.permanent) {
      this.set({ request: null });
      this.forgetLate();
    } else this.#requestPage(request, PAGE_RETRY_DELAY_MS);
  }

  /** Replaces everything by what the kernel sent as its answer to `open`. */
  #snapshot(frames: readonly ServerFrame[]): void {
    const { epoch, loaded } = this.state;
    const knownSeq = loaded ? this.state.lastSeq : Infinity;
    const growing = new Set(this.list.messages.flatMap(({ seq, live }) => (live ? [seq] : [])));
    const { hello, messages, changes, rest, lastSeq } = readSnapshot(frames);
    const opening = this.state.reading.seq === null;
    if (hello !== null) {
      this.welcome(hello);
      this.set({ epoch: hello.epoch });
    }
    this.#reload(0, this.state.epoch !== epoch);
    this.list.replace(messages);
    const complete = (messages[0]?.seq ?? 0) <= this.state.oldestSeq;
    // Without a hello the kernel has not joined the room yet, and nothing is known about its messages.
    this.set({ complete, loaded: this.state.epoch !== null });
    for (const change of changes) this.#change(change);
    this.set({ lastSeq });
    for (const message of messages) this.confirm(message);
    for (const frame of rest) this.apply(frame);
    const sameEpoch = epoch !== null && epoch === this.state.epoch;
    const isNew = ({ seq, live }: Message): boolean => seq > knownSeq || (growing.has(seq) && !live);
    const missed = messages.filter((each) => sameEpoch && isNew(each) && !isOwn(this.state, each));
    if (!this.state.latestVisible && missed.length > 0) {
      this.set({ unread: { firstSeq: missed[0]!.seq, count: missed.length } });
    }
    if (opening) this.showUnread();
    this.resendUnacknowledged();
  }
}
