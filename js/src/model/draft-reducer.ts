/** The part of the reducer that sends drafts, and removes them when their entries arrive. */

import type { Draft } from "../protocol/client-frames";
import type { Entry } from "../protocol/entries";
import type { ErrorFrame } from "../protocol/server-frames";
import * as pending from "./pending";
import type { Effect, State } from "./state";
import { NO_UNREAD } from "./unread";

export class DraftReducer {
  state: State;
  readonly effects: Effect[] = [];

  constructor(state: State) {
    this.state = state;
  }

  protected set(fields: Partial<State>): void {
    this.state = { ...this.state, ...fields };
  }

  protected draft(draft: Draft, at: number): void {
    const added: pending.PendingDraft = { cid: draft.cid, draft, at, state: "sending" };
    this.set({ pending: [...this.state.pending, added], notice: null });
    if (draft.type === "chat.send") this.set({ unread: NO_UNREAD });
    this.#send(draft);
  }

  protected retry(cid: string): void {
    const found = pending.find(this.state.pending, cid);
    if (found === undefined) return;
    this.set({ pending: pending.retried(this.state.pending, cid) });
    this.#send(found.draft);
  }

  protected resendUnacknowledged(): void {
    for (const { draft } of pending.unacknowledged(this.state.pending)) this.#send(draft);
  }

  /** `entry` is in the list: its draft is done. An author other than the draft's is our verified name. */
  protected confirm(entry: Entry): void {
    if (this.state.pending.length === 0) return;
    const mine = pending.find(this.state.pending, entry.cid);
    if (mine !== undefined && entry.user !== mine.draft.user) this.set({ principal: entry.user });
    this.set({ pending: pending.confirmed(this.state.pending, entry) });
  }

  protected rejected(error: ErrorFrame): void {
    const found = pending.find(this.state.pending, error.cid);
    // Without a draft and not live: the author's end of a message came before our "Stop".
    if (found === undefined && error.code === "not_live") return;
    if (error.cid === undefined) this.set({ notice: { code: error.code, message: error.message } });
    this.set({ pending: pending.rejected(this.state.pending, error) });
    if (found !== undefined && error.retry_ms !== undefined) this.#send(found.draft, error.retry_ms);
  }

  #send(draft: Draft, delay = 0): void {
    this.effects.push({ do: "send", draft, delay });
  }
}
