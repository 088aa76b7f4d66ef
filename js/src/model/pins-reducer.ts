/** The part of the reducer that knows the pinned messages: it asks for them again whenever one of them has changed. */

import type { Change, Message } from "../protocol/entries";
import type { Hello } from "../protocol/server-frames";
import { ExcerptReducer } from "./excerpt-reducer";
import { PAGE_RETRY_DELAY_MS, PAGE_SIZE } from "./state";

/** Changes of what is shown of a pinned message. */
const SHOWN: ReadonlySet<Change["kind"]> = new Set(["edit", "delete", "end"]);

export class PinsReducer extends ExcerptReducer {
  protected override welcome(hello: Hello): void {
    super.welcome(hello);
    const { messages, request } = this.state.pins;
    if (hello.pins === true || messages.length > 0 || request !== null) this.refreshPins();
  }

  protected refreshPins(delay = 0): void {
    const { pins, requestCount } = this.state;
    if (pins.request !== null) return this.set({ pins: { ...pins, stale: true } });
    const id = requestCount + 1;
    this.set({ requestCount: id, pins: { ...pins, request: id, stale: false } });
    this.effects.push({ do: "page", id, position: { pinned: 1 }, limit: PAGE_SIZE, delay });
  }

  protected pinsAfter({ kind, pin, target }: Change): void {
    const { messages, request } = this.state.pins;
    const concerned = request !== null || messages.some(({ seq }) => seq === target);
    if (pin === true || (concerned && SHOWN.has(kind))) this.refreshPins();
  }

  /** Returns false if these are not the pinned messages. */
  protected pinsPage(id: number, page: readonly Message[]): boolean {
    if (this.state.pins.request !== id) return false;
    const pinned = page.filter((message) => message.pinned !== undefined); // an earlier server gives others too
    const messages = pinned.sort((a, b) => a.pinned! - b.pinned!);
    const { stale } = this.state.pins;
    this.set({ pins: { messages, request: null, stale: false } });
    if (stale) this.refreshPins();
    return true;
  }

  /** Returns false if these are not the pinned messages. */
  protected pinsFailed(id: number, permanent: boolean): boolean {
    if (this.state.pins.request !== id) return false;
    this.set({ pins: { ...this.state.pins, request: null } });
    if (!permanent) this.refreshPins(PAGE_RETRY_DELAY_MS);
    return true;
  }
}
