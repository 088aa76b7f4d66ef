/** Attachments as something an `<img>` can show: fetched once, a few at a time, kept while shown and a while longer.
 *
 * A picture that is also a page (SVG) gets a `data:` address: opened by itself, that has no origin, where a `blob:`
 * one would have the notebook's.
 */

import { IMAGES, type Part } from "../protocol/frames";

type Fetch = (part: Part, signal: AbortSignal) => Promise<Blob>;

/** Bytes that are kept though nobody shows them. */
const KEEP = 32_000_000;
const AT_ONCE = 3;

export interface Held {
  readonly blob: Promise<Blob>;
  /** For an `<img>`; empty where it is no picture. */
  readonly address: Promise<string>;
  readonly release: () => void;
}

interface Entry {
  readonly blob: Promise<Blob>;
  readonly address: Promise<string>;
  readonly size: number;
  holders: number;
}

export class Media {
  readonly #fetch: Fetch;
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry>();
  readonly #stopped = new AbortController();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  /** Holds it until it is released. What failed is tried again by the next who asks. */
  hold(part: Part): Held {
    const entry = this.#entries.get(part.sha256) ?? this.#add(part, this.#queued(part));
    entry.holders += 1;
    const release = (): void => {
      entry.holders -= 1;
      if (this.#entries.get(part.sha256) !== entry) return;
      this.#entries.delete(part.sha256);
      this.#entries.set(part.sha256, entry);
      this.#forget();
    };
    return { blob: entry.blob, address: entry.address, release };
  }

  /** What was just put need not be fetched. */
  seed(part: Part, blob: Blob): void {
    if (!this.#entries.has(part.sha256)) this.#add(part, Promise.resolve(blob));
  }

  stop(): void {
    this.#stopped.abort();
    for (const sha256 of [...this.#entries.keys()]) this.#drop(sha256);
  }

  #add(part: Part, blob: Promise<Blob>): Entry {
    const entry = { blob, address: blob.then((bytes) => addressOf(bytes, part.mime)), size: part.size, holders: 0 };
    this.#entries.set(part.sha256, entry);
    entry.address.catch(() => {
      if (this.#entries.get(part.sha256) === entry) this.#entries.delete(part.sha256);
    });
    return entry;
  }

  async #queued(part: Part): Promise<Blob> {
    if (this.#running >= AT_ONCE) await new Promise<void>((go) => this.#waiting.push(go));
    this.#running += 1;
    try {
      return await this.#fetch(part, this.#stopped.signal);
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  /** The longest unused first. */
  #forget(): void {
    const unheld = [...this.#entries].filter(([, { holders }]) => holders === 0);
    let kept = unheld.reduce((sum, [, { size }]) => sum + size, 0);
    for (const [sha256, { size }] of unheld) {
      if (kept <= KEEP) return;
      kept -= size;
      this.#drop(sha256);
    }
  }

  #drop(sha256: string): void {
    const entry = this.#entries.get(sha256);
    this.#entries.delete(sha256);
    entry?.address.then((address) => URL.revokeObjectURL(address)).catch(() => undefined);
  }
}

/** Only pictures have one: whatever else came under this type, a browser is never pointed at it. */
async function addressOf(bytes: Blob, mime: string): Promise<string> {
  if (!IMAGES.includes(mime)) return "";
  const picture = new Blob([bytes], { type: mime });
  if (mime !== "image/svg+xml") return URL.createObjectURL(picture);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(typeof reader.result === "string" ? reader.result : "");
    reader.onerror = () => reject(new Error("the picture can't be read"));
    reader.readAsDataURL(picture);
  });
}
