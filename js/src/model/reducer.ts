/** The room's state, computed: `reduce(state, inputs) -> [state, effects]`, with no clock, socket or DOM.
 *
 * The client rule of chat.v1: an entry at or below `last` is dropped, one whose `prev` is `last` is
 * accepted, anything else asks to resume from `last`; a new epoch reloads. What falls into a gap is paged
 * by REST: as raw log entries where that is short, else the newest messages are loaded afresh. So
 * `messages` is the log's tail at all times, whatever the network lost, doubled or reordered.
 */

import * as pending from "./pending";
import {
  isChange,
  type Change,
  type ChangeFrame,
  type Draft,
  type Entry,
  type Gap,
  type Hello,
  type Message,
  type MessageFrame,
  type Profile,
  type Refusal,
  type ServerFrame,
} from "../protocol/frames";
import {
  isOwn,
  KEEP,
  LOG_PAGE,
  LONGEST_FILL,
  MAX_HELD,
  PAGE,
  PAGE_RETRY,
  type Effect,
  type Input,
  type Request,
  type State,
} from "./state";
import { Tail } from "./mutable-messages";

const LOOKS = ["name", "initials", "color", "avatar"] as const;
const sameLooks = (a: Profile | undefined, b: Profile): boolean => LOOKS.every((part) => a?.[part] === b[part]);

/** One step for a whole batch: the message list is copied once, however many frames arrived together. */
export function reduce(state: State, inputs: readonly Input[]): [State, Effect[]] {
  const turn = new Turn(state);
  for (const input of inputs) turn.take(input);
  const { messages } = turn.tail;
  // A turn that changes nothing gives back the very state: a view that watches it has nothing to draw.
  return [messages === turn.state.messages ? turn.state : { ...turn.state, messages }, turn.effects];
}

class Turn {
  /** All but the messages, which `tail` holds until the turn ends. */
  state: State;
  readonly tail: Tail;
  readonly effects: Effect[] = [];

  constructor(state: State) {
    this.state = state;
    this.tail = new Tail(state.messages);
  }

  take(input: Input): void {
    switch (input.type) {
      case "hello":
        return this.#hello(input);
      case "message":
      case "change":
        return this.#entry(input);
      case "synced":
        return this.#synced(input.seq);
      case "gap":
        return this.#gap(input);
      case "ack":
        return this.#set({ pending: pending.acknowledged(this.state.pending, input, this.state.last) });
      case "error":
        return this.#refused(input);
      case "presence":
        return this.#presence(input.members ?? []);
      case "status":
        return this.#set({ status: input });
      case "snapshot":
        return this.#snapshot(input.frames);
      case "page":
        return this.#page(input);
      case "log":
        return this.#log(input);
      case "page-failed":
        return this.#pageFailed(input);
      case "older":
        return this.#older();
      case "draft":
        return this.#draft(input.draft, input.at);
      case "retry":
        return this.#retry(input.cid);
      case "discard":
        return this.#set({ pending: pending.without(this.state.pending, input.cid) });
      case "undeliverable":
        return this.#set({ pending: pending.undeliverable(this.state.pending, input.error) });
      case "link":
        return this.#set({ link: input.link });
      case "user":
        return this.#set({ user: input.user });
      case "attention":
        return this.#attention(input.on);
      case "dismiss":
        return this.#set({ notice: null });
      case "bye": // the source's to obey
      case "echo":
        return;
    }
  }

  #set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
  }

  // ---- the chain ---------------------------------------------------------------------------------

  #hello(hello: Hello): void {
    const { epoch, principal } = this.state;
    this.#set({ oldest: hello.oldest, limits: hello.limits, resuming: false, principal: hello.user ?? principal });
    if (hello.epoch !== epoch) {
      this.#set({ epoch: hello.epoch });
      this.#reload(hello.seq);
    }
    this.#sendAgain();
  }

  #entry(frame: MessageFrame | ChangeFrame): void {
    const { last, request, held, resuming, epoch } = this.state;
    const { entry, prev } = frame;
    if (epoch === null) return;
    if (entry.seq <= last) return this.#arrived(entry);
    if (request?.kind === "log") {
      if (held.length < MAX_HELD) this.#set({ held: [...held, frame] });
      return;
    }
    if (prev === undefined || prev === last) return this.#accept(entry);
    if (resuming) return;
    this.#set({ resuming: true });
    this.effects.push({ do: "resume", after: last, epoch });
  }

  #accept(entry: Entry): void {
    this.#set({ last: entry.seq });
    if (isChange(entry)) this.#change(entry);
    else this.#append(entry);
    this.#arrived(entry);
  }

  #append(message: Message): void {
    const { attentive, unread, request } = this.state;
    this.tail.append(message);
    if (attentive && request === null && this.tail.messages.length > KEEP * 1.5) {
      this.tail.keep(KEEP);
      this.#set({ complete: false });
    }
    if (isOwn(this.state, message.user)) this.#set({ unread: { from: null, count: 0 } });
    else if (!attentive) this.#set({ unread: { from: unread.from ?? message.seq, count: unread.count + 1 } });
  }

  #change(change: Change): void {
    const { request, late } = this.state;
    // The page on its way may have been read before this change was written.
    if (!this.tail.change(change) && request !== null) this.#set({ late: [...late, change] });
  }

  #synced(seq: number): void {
    const { last, epoch, request } = this.state;
    if (seq < last || request?.kind === "log") return;
    this.#set({ resuming: seq > last });
    if (seq > last) this.effects.push({ do: "resume", after: last, epoch });
  }

  #gap(gap: Gap): void {
    const { last, request, loaded } = this.state;
    if (gap.reason === "epoch") return this.#reload(gap.to);
    if (gap.to <= last || request?.kind === "log") return;
    if (!loaded || gap.reason === "trimmed" || gap.to - last > LONGEST_FILL) return this.#reload(gap.to);
    this.#ask({ kind: "log", to: gap.to });
  }

  // ---- pages -------------------------------------------------------------------------------------

  #reload(last: number): void {
    this.tail.replace([]);
    this.#set({
      last,
      complete: last === 0,
      loaded: last === 0,
      held: [],
      late: [],
      resuming: false,
      request: null,
      unread: { from: null, count: 0 },
      pending: pending.skipped(this.state.pending, last),
    });
    if (last > 0) this.#ask({ kind: "tail" });
  }

  #older(): void {
    const { complete, loaded, request } = this.state;
    if (loaded && !complete && request === null) this.#ask({ kind: "older" });
  }

  #ask(request: Omit<Request, "id">, delay = 0): void {
    const id = this.state.requests + 1;
    this.#set({ request: { ...request, id }, requests: id });
    const { last } = this.state;
    if (request.kind === "log") {
      this.effects.push({ do: "log", id, after: last, limit: LOG_PAGE, delay });
    } else {
      const before = request.kind === "tail" ? null : (this.tail.first ?? last + 1);
      this.effects.push({ do: "page", id, before, limit: PAGE, delay });
    }
  }

  #page(input: { id: number; messages: readonly Message[]; limit: number }): void {
    const { request, last, late, oldest } = this.state;
    if (request?.id !== input.id) return;
    const first = this.tail.first ?? last + 1;
    const page = input.messages.filter(({ seq }) => seq < first).sort((a, b) => a.seq - b.seq);
    this.tail.prepend(page, late);
    const complete = input.messages.length < input.limit || (this.tail.first ?? 0) <= oldest;
    this.#set({ complete, loaded: true, request: null, late: [] });
  }

  #log(input: { id: number; entries: readonly Entry[]; limit: number }): void {
    const { request } = this.state;
    if (request?.kind !== "log" || request.id !== input.id) return;
    for (const entry of input.entries) if (entry.seq > this.state.last) this.#accept(entry);
    const to = request.to ?? 0;
    if (this.state.last < to && input.entries.length === input.limit) return this.#ask(request);
    const { held } = this.state;
    this.#set({ request: null, held: [], late: [], last: Math.max(this.state.last, to) });
    for (const frame of held) this.#entry(frame);
  }

  #pageFailed(input: { id: number; final: boolean }): void {
    const { request, last } = this.state;
    if (request?.id !== input.id) return;
    if (request.kind === "log" && input.final) return this.#reload(Math.max(last, request.to ?? 0));
    if (request.kind === "older" || input.final) this.#set({ request: null, late: [] });
    else this.#ask(request, PAGE_RETRY);
  }

  /** The comm's answer to `open`: the tail in frames, in place of everything before. */
  #snapshot(frames: readonly ServerFrame[]): void {
    const { epoch, last: before, loaded } = this.state;
    const known = loaded ? before : Infinity;
    const messages: Message[] = [];
    const rest: ServerFrame[] = [];
    let last = 0;
    let fresh = epoch === null;
    for (const frame of frames) {
      if (frame.type === "hello") {
        fresh ||= frame.epoch !== epoch;
        this.#set({ epoch: frame.epoch, oldest: frame.oldest, limits: frame.limits });
        this.#set({ principal: frame.user ?? this.state.principal });
      } else if (frame.type === "message") messages.push(frame.entry);
      else rest.push(frame);
      if (frame.type === "message" || frame.type === "change") last = Math.max(last, frame.entry.seq);
      if (frame.type === "synced") last = Math.max(last, frame.seq);
    }
    this.#reload(0);
    messages.sort((a, b) => a.seq - b.seq);
    this.tail.replace(messages);
    const complete = (messages[0]?.seq ?? 0) <= this.state.oldest;
    // Without a hello the kernel itself has not joined yet: there is nothing to show, and nothing is known.
    this.#set({ complete, loaded: this.state.epoch !== null });
    for (const frame of rest) if (frame.type === "change") this.#change(frame.entry);
    this.#set({ last });
    for (const message of messages) this.#arrived(message);
    for (const frame of rest) if (frame.type !== "change" && frame.type !== "synced") this.take(frame);
    const missed = fresh ? [] : messages.filter((m) => m.seq > known && !isOwn(this.state, m.user));
    if (!this.state.attentive && missed.length > 0) {
      this.#set({ unread: { from: missed[0]!.seq, count: missed.length } });
    }
    this.#sendAgain();
  }

  // ---- what we send ------------------------------------------------------------------------------

  #send(draft: Draft, delay = 0): void {
    this.effects.push({ do: "send", draft, delay });
  }

  #draft(draft: Draft, at: number): void {
    const fresh: pending.Pending = { cid: draft.cid, draft, at, state: "sending" };
    this.#set({ pending: [...this.state.pending, fresh], notice: null });
    if (draft.type === "chat.send") this.#set({ unread: { from: null, count: 0 } });
    this.#send(draft);
  }

  #retry(cid: string): void {
    const found = pending.find(this.state.pending, cid);
    if (found === undefined) return;
    this.#set({ pending: pending.retried(this.state.pending, cid) });
    this.#send(found.draft);
  }

  #sendAgain(): void {
    for (const { draft } of pending.unacknowledged(this.state.pending)) this.#send(draft);
  }

  #arrived(entry: Entry): void {
    if (this.state.pending.length === 0) return;
    const mine = pending.find(this.state.pending, entry.cid);
    if (mine !== undefined && entry.user !== mine.draft.user) this.#set({ principal: entry.user });
    this.#set({ pending: pending.arrived(this.state.pending, entry) });
  }

  #refused(refusal: Refusal): void {
    const found = pending.find(this.state.pending, refusal.cid);
    if (refusal.cid === undefined) this.#set({ notice: { code: refusal.code, message: refusal.message } });
    this.#set({ pending: pending.refused(this.state.pending, refusal) });
    if (found !== undefined && refusal.retry_ms !== undefined) this.#send(found.draft, refusal.retry_ms);
  }

  // ---- who is here, and who looks ----------------------------------------------------------------

  #presence(members: State["members"]): void {
    const fresh = members.filter(({ user, kind }) => kind === "kernel" && !this.state.kernels.has(user));
    this.#set({ members });
    if (fresh.length > 0) this.#set({ kernels: new Set([...this.state.kernels, ...fresh.map((m) => m.user)]) });
    const { profiles } = this.state;
    const changed = members.flatMap(({ user, verified, profile }) =>
      verified && profile !== undefined && !sameLooks(profiles.get(user), profile) ? [[user, profile] as const] : [],
    );
    if (changed.length > 0) this.#set({ profiles: new Map([...profiles, ...changed]) });
  }

  #attention(on: boolean): void {
    const { unread, attentive } = this.state;
    if (on === attentive) return;
    // The divider stays while one reads on from it, and goes when one looks away having read all.
    const from = !on && unread.count === 0 ? null : unread.from;
    this.#set({ attentive: on, unread: { from, count: on ? 0 : unread.count } });
  }
}
