/** A room's log in memory, which answers like a server: appends, pages, replays, and the pieces of live messages. */

import type { Effect, Input, PagePosition } from "../../src/model/state";
import { isChange, type Change, type Entry, type Message } from "../../src/protocol/entries";
import { appended, codePoints, fold, withAnswer } from "../../src/protocol/folding";
import type { AppendFrame, Hello, ServerFrame } from "../../src/protocol/server-frames";

export const LIMITS = { text: 32_000, user: 64, frame: 262_144, rate: 20, rate_ms: 10_000 };
const MAX_REPLAY = 5;

export class FakeLog {
  entries: Entry[] = [];
  epoch = "e1";
  /** The end of each live message that is not in the log yet, as one piece. */
  readonly #tails = new Map<number, AppendFrame>();
  #at = 1_760_000_000_000;

  /** `step`: the difference to the seq before, which need not be 1. A user's client has the user's name. */
  append(user: string, text: string, step = 1, extra: Partial<Message> = {}): Message {
    const seq = this.last + step;
    const message = { seq, room: "lobby", user, text, at: (this.#at += 10), cid: `${seq}.${user}`, ...extra };
    this.entries.push(message);
    return message;
  }

  change(change: Pick<Change, "kind" | "target"> & Partial<Change>, step = 1): Change {
    const entry = { seq: this.last + step, room: "lobby", user: "ada", at: (this.#at += 10), ...change };
    this.entries.push(entry);
    return entry;
  }

  /** Adds `text` to a live message, without saving it. Returns the frame that members get. */
  write(target: number, text: string, replace?: { offset: number }): AppendFrame {
    const message = this.get(target)!;
    const offset = replace?.offset ?? codePoints(message.text);
    const piece: AppendFrame = { type: "append", target, offset, text, ...(replace && { replace: true }) };
    const tail = this.#tails.get(target) ?? { ...piece, text: "" };
    const from = Math.min(tail.offset, offset);
    const whole = Array.from(appended(message, piece).text).slice(from).join("");
    const replaces = replace !== undefined || tail.replace === true;
    this.#tails.set(target, { type: "append", target, offset: from, text: whole, ...(replaces && { replace: true }) });
    return piece;
  }

  /** Saves what is not in the log yet of a live message. */
  save(target: number): Change[] {
    const tail = this.#tails.get(target);
    this.#tails.delete(target);
    if (tail === undefined) return [];
    const { offset, text, replace } = tail;
    return [this.change({ kind: "append", target, offset, text, ...(replace && { replace }) })];
  }

  get(seq: number): Message | undefined {
    return this.folded().find((message) => message.seq === seq);
  }

  /** What is not saved yet, as a member who joins gets it. */
  get tails(): readonly AppendFrame[] {
    return [...this.#tails.values()];
  }

  /** Loses the newest entries, and all that is not saved. */
  restore(): void {
    this.epoch = `${this.epoch}+`;
    this.entries = this.entries.slice(0, Math.ceil(this.entries.length / 2));
    this.#tails.clear();
  }

  get last(): number {
    return this.entries.at(-1)?.seq ?? 0;
  }

  /** All messages up to a seq, with their changes; the newest texts of live messages without `upTo`. */
  folded(upTo = Infinity): Message[] {
    const messages = new Map<number, Message>();
    for (const entry of this.entries.filter(({ seq }) => seq <= upTo)) {
      if (!isChange(entry)) {
        messages.set(entry.seq, entry);
        const question = messages.get(entry.re ?? 0);
        if (question !== undefined) messages.set(question.seq, withAnswer(question, entry));
      } else if (messages.has(entry.target)) messages.set(entry.target, fold(messages.get(entry.target)!, entry));
    }
    if (upTo !== Infinity) return [...messages.values()];
    return [...messages.values()].map((message) => {
      const tail = this.#tails.get(message.seq);
      return tail === undefined ? message : appended(message, tail);
    });
  }

  frame(entry: Entry): ServerFrame {
    const prev = this.entries[this.entries.indexOf(entry) - 1]?.seq ?? 0;
    return isChange(entry) ? { type: "change", entry, prev } : { type: "message", entry, prev };
  }

  /** As `frame`, for a member who was sent the pieces of an append. */
  shortFrame(entry: Entry): ServerFrame {
    const frame = this.frame(entry);
    if (frame.type !== "change" || frame.entry.kind !== "append") return frame;
    const { text = "", ...rest } = frame.entry;
    return { ...frame, entry: { ...rest, length: codePoints(text) } };
  }

  hello(resumed: boolean): Hello {
    const oldest = this.entries[0]?.seq ?? 0;
    const { epoch, last: seq } = this;
    const pins = this.entries.some((entry) => isChange(entry) && entry.pin);
    return { type: "hello", room: "lobby", epoch, seq, oldest, resumed, limits: LIMITS, heartbeat_ms: 20_000, ...(pins && { pins }) };
  }

  /** The frames that a server sends to a client that resumes. */
  replay(after: number, epoch: string | null): ServerFrame[] {
    const synced: ServerFrame = { type: "synced", seq: this.last };
    if ((epoch !== null && epoch !== this.epoch) || after > this.last) {
      return [{ type: "gap", from: 0, to: this.last, reason: "epoch" }, synced];
    }
    const missed = this.entries.filter(({ seq }) => seq > after);
    const kept = missed.length > MAX_REPLAY ? missed.slice(-3) : missed;
    const to = missed[missed.length - kept.length - 1]?.seq;
    const gap: ServerFrame[] = to === undefined ? [] : [{ type: "gap", from: after, to, reason: "long" }];
    return [...gap, ...kept.map((entry) => this.frame(entry)), synced];
  }

  /** The messages at a position, as `GET /messages` gives them. */
  page({ before = Infinity, after, around, at, pinned }: PagePosition, limit: number): Message[] {
    const messages = this.folded().filter((each) => pinned === undefined || each.pinned !== undefined);
    if (after !== undefined) return messages.filter(({ seq }) => seq > after).slice(0, limit);
    if (around === undefined && at === undefined) return messages.filter(({ seq }) => seq < before).slice(-limit);
    const found = messages.findIndex((message) => (around === undefined ? message.at >= at! : message.seq >= around));
    const middle = found === -1 ? messages.length - 1 : found;
    const start = Math.max(0, Math.min(middle - (limit >> 1), messages.length - limit));
    return messages.slice(start, start + limit);
  }

  /** The result of a page or log effect, read from the log in its present state. */
  answer(effect: Effect): Input | null {
    if (effect.do === "page") {
      return { type: "page", id: effect.id, limit: effect.limit, messages: this.page(effect.position, effect.limit) };
    }
    if (effect.do === "log") {
      const above = this.entries.filter(({ seq }) => seq > effect.after);
      return { type: "log", id: effect.id, limit: effect.limit, entries: above.slice(0, effect.limit) };
    }
    return null;
  }
}
