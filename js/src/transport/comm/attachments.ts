/** Attachments over the comm, in chunks: only the kernel has a connection to the server, and a token.
 *
 * Each chunk waits for the reply to the one before it, so that other commands can be sent between two chunks.
 * Jupyter may drop a reply: after a timeout a download requests its chunk again.
 */

import type { Attachment } from "../../protocol/attachments";
import { RequestError } from "../../protocol/errors";
import { asAttachment } from "../../protocol/guards";
import { newId } from "../../protocol/ids";
import { isObject } from "../../protocol/schema";
import type { OnProgress } from "../source";

export type ChunkCommand =
  | { readonly do: "part"; readonly sha256: string; readonly at: number }
  | {
      readonly do: "put";
      readonly upload: string;
      readonly mime: string;
      readonly size: number;
      readonly at: number;
    };

export interface Reply {
  readonly envelope: Readonly<Record<string, unknown>>;
  readonly buffers: readonly DataView[];
}

type SendCommand = (command: ChunkCommand, buffer?: ArrayBuffer) => Promise<Reply>;

const CHUNK_BYTES = 512 * 1024;
/** Longer than the slowest chunk takes, which the kernel delays to limit its rate. */
const REPLY_TIMEOUT_MS = 30_000;
const MAX_ATTEMPTS = 3;
const TRANSFER_LOST = { code: "lost", message: "the transfer failed: try again" };

export async function fetchInChunks(send: SendCommand, sha256: string, signal: AbortSignal): Promise<Blob> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  for (let size = 1; at < size; ) {
    const { envelope, buffers } = await requestWithRetries(() => send({ do: "part", sha256, at }), signal);
    const view = buffers[0];
    const header = isObject(envelope.part) ? envelope.part : {};
    if (view === undefined || view.byteLength === 0 || typeof header.size !== "number" || header.at !== at) {
      throw new RequestError(TRANSFER_LOST);
    }
    chunks.push(new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength));
    at += view.byteLength;
    size = header.size;
  }
  return new Blob(chunks);
}

export async function uploadInChunks(
  send: SendCommand,
  file: Blob,
  mime: string,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Attachment> {
  const upload = newId();
  for (let at = 0; at < file.size; at += CHUNK_BYTES) {
    const chunk = await file.slice(at, at + CHUNK_BYTES).arrayBuffer();
    signal.throwIfAborted();
    // Without retries: the kernel may have received the chunk, and a second copy would corrupt the file.
    const { envelope } = await send({ do: "put", upload, mime, size: file.size, at }, chunk);
    signal.throwIfAborted();
    onProgress(Math.min(1, (at + chunk.byteLength) / file.size));
    const stored = asAttachment(envelope.stored);
    if (stored !== null) return stored;
  }
  throw new RequestError(TRANSFER_LOST);
}

async function requestWithRetries(request: () => Promise<Reply>, signal: AbortSignal): Promise<Reply> {
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    const done = new AbortController();
    const timeout = new Promise<null>((resolve) => {
      const timer = setTimeout(resolve, REPLY_TIMEOUT_MS, null);
      done.signal.addEventListener("abort", () => clearTimeout(timer));
    });
    try {
      const reply = await Promise.race([request(), timeout]);
      if (reply !== null) return reply;
    } finally {
      done.abort();
    }
    if (attempt === MAX_ATTEMPTS) throw new RequestError(TRANSFER_LOST);
  }
}
