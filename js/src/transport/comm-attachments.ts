/** Attachments over the comm, a piece at a time: the kernel alone has a way to the server, and a token.
 *
 * A piece waits for the answer to the one before it, so a long one never fills the line, and what a person types
 * meanwhile goes between two of them. An answer that doesn't come is asked for again: Jupyter may have dropped it.
 */

import { asPart, isObject } from "../protocol/guards";
import type { Part } from "../protocol/frames";
import { newId } from "../room/room";
import { Refused } from "./source";

export type PieceCommand =
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

type Ask = (command: PieceCommand, buffer?: ArrayBuffer) => Promise<Reply>;

const PIECE = 512 * 1024;
/** Longer than the slowest piece, which waits for its turn in the kernel's pace. */
const PATIENCE = 30_000;
const TRIES = 3;
const LOST = { code: "lost", message: "it did not arrive: try again" };

export async function fetchInPieces(ask: Ask, sha256: string, signal: AbortSignal): Promise<Blob> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  for (let size = 1; at < size; ) {
    const { envelope, buffers } = await patiently(() => ask({ do: "part", sha256, at }), signal);
    const view = buffers[0];
    const told = isObject(envelope.part) ? envelope.part : {};
    if (view === undefined || view.byteLength === 0 || typeof told.size !== "number" || told.at !== at) {
      throw new Refused(LOST);
    }
    pieces.push(new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength));
    at += view.byteLength;
    size = told.size;
  }
  return new Blob(pieces);
}

export async function putInPieces(
  ask: Ask,
  file: Blob,
  mime: string,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<Part> {
  const upload = newId();
  for (let at = 0; at < file.size; at += PIECE) {
    const piece = await file.slice(at, at + PIECE).arrayBuffer();
    signal.throwIfAborted();
    // Not again by itself: the kernel may have it, and a second copy of a piece would spoil the whole.
    const { envelope } = await ask({ do: "put", upload, mime, size: file.size, at }, piece);
    signal.throwIfAborted();
    progress(Math.min(1, (at + piece.byteLength) / file.size));
    const stored = asPart(envelope.stored);
    if (stored !== null) return stored;
  }
  throw new Refused(LOST);
}

async function patiently(ask: () => Promise<Reply>, signal: AbortSignal): Promise<Reply> {
  for (let tries = 1; ; tries += 1) {
    signal.throwIfAborted();
    const timeout = new AbortController();
    const late = new Promise<null>((resolve) => {
      const timer = setTimeout(resolve, PATIENCE, null);
      timeout.signal.addEventListener("abort", () => clearTimeout(timer));
    });
    try {
      const reply = await Promise.race([ask(), late]);
      if (reply !== null) return reply;
    } finally {
      timeout.abort();
    }
    if (tries === TRIES) throw new Refused(LOST);
  }
}
