/** Attachments as URLs for `<img>`: fetched once, a few at a time, and cached while shown and for some time after.
 *
 * SVG gets a `data:` URL: opened in a tab, that has no origin, while a `blob:` URL would have the notebook's.
 */

import { IMAGE_TYPES, type Attachment } from "../protocol/attachments";

type Fetch = (attachment: Attachment, signal: AbortSignal) => Promise<Blob>;

/** Of the attachments that no view shows. */
const MAX_UNUSED_BYTES = 32_000_000;
const MAX_CONCURRENT_FETCHES = 3;

export interface AttachmentHandle {
  readonly blob: Promise<Blob>;
  /** For an `<img>`; empty if the attachment is not an image. */
  readonly url: Promise<string>;
  readonly release: () => void;
}

interface CacheEntry {
  readonly blob: Promise<Blob>;
  readonly url: Promise<string>;
  readonly size: number;
  handles: number;
}

export class AttachmentCache {
  readonly #fetch: Fetch;
  /** In the order of last use. */
  readonly #entries = new Map<string, CacheEntry>();
  readonly #stopped = new AbortController();
  readonly #waiting: (() => void)[] = [];
  #fetching = 0;

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  /** Keeps the attachment until the handle is released. A failed fetch is repeated for the next handle. */
  acquire(attachment: Attachment): AttachmentHandle {
    const { sha256 } = attachment;
    const entry = this.#entries.get(sha256) ?? this.#add(attachment, this.#fetchInTurn(attachment));
    entry.handles += 1;
    const release = (): void => {
      entry.handles -= 1;
      if (this.#entries.get(sha256) !== entry) return;
      this.#entries.delete(sha256);
      this.#entries.set(sha256, entry);
      this.#evict();
    };
    return { blob: entry.blob, url: entry.url, release };
  }

  /** Adds an attachment that was just uploaded, so that it is not fetched. */
  seed(attachment: Attachment, blob: Blob): void {
    if (!this.#entries.has(attachment.sha256)) this.#add(attachment, Promise.resolve(blob));
  }

  stop(): void {
    this.#stopped.abort();
    for (const sha256 of [...this.#entries.keys()]) this.#remove(sha256);
  }

  #add({ sha256, mime, size }: Attachment, blob: Promise<Blob>): CacheEntry {
    const entry = { blob, url: blob.then((content) => imageUrl(content, mime)), size, handles: 0 };
    this.#entries.set(sha256, entry);
    entry.url.catch(() => {
      if (this.#entries.get(sha256) === entry) this.#entries.delete(sha256);
    });
    return entry;
  }

  async #fetchInTurn(attachment: Attachment): Promise<Blob> {
    if (this.#fetching >= MAX_CONCURRENT_FETCHES) await new Promise<void>((go) => this.#waiting.push(go));
    this.#fetching += 1;
    try {
      return await this.#fetch(attachment, this.#stopped.signal);
    } finally {
      this.#fetching -= 1;
      this.#waiting.shift()?.();
    }
  }

  /** Removes the least recently used entries without handles until the others fit. */
  #evict(): void {
    const unused = [...this.#entries].filter(([, { handles }]) => handles === 0);
    let bytes = unused.reduce((sum, [, { size }]) => sum + size, 0);
    for (const [sha256, { size }] of unused) {
      if (bytes <= MAX_UNUSED_BYTES) return;
      bytes -= size;
      this.#remove(sha256);
    }
  }

  #remove(sha256: string): void {
    const entry = this.#entries.get(sha256);
    this.#entries.delete(sha256);
    entry?.url.then((url) => URL.revokeObjectURL(url)).catch(() => undefined);
  }
}

/** Empty for all but images: the browser is never given a URL of another type. */
async function imageUrl(content: Blob, mime: string): Promise<string> {
  if (!IMAGE_TYPES.includes(mime)) return "";
  const image = new Blob([content], { type: mime });
  if (mime !== "image/svg+xml") return URL.createObjectURL(image);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(typeof reader.result === "string" ? reader.result : "");
    reader.onerror = () => reject(new Error("the image cannot be read"));
    reader.readAsDataURL(image);
  });
}
