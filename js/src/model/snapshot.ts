/** The kernel's answer to `open`: its hello (once it has joined), the newest messages, their changes, the rest. */

import type { Change, Message } from "../protocol/entries";
import type { Hello, ServerFrame } from "../protocol/server-frames";

interface Snapshot {
  readonly hello: Hello | null;
  readonly messages: readonly Message[];
  readonly changes: readonly Change[];
  readonly rest: readonly ServerFrame[];
  readonly lastSeq: number;
}

export function readSnapshot(frames: readonly ServerFrame[]): Snapshot {
  const messages: Message[] = [];
  const changes: Change[] = [];
  const rest: ServerFrame[] = [];
  let hello: Hello | null = null;
  let lastSeq = 0;
  for (const frame of frames) {
    if (frame.type === "hello") hello = frame;
    else if (frame.type === "message") messages.push(frame.entry);
    else if (frame.type === "change") changes.push(frame.entry);
    else if (frame.type === "synced") lastSeq = Math.max(lastSeq, frame.seq);
    else rest.push(frame);
  }
  for (const { seq } of [...messages, ...changes]) lastSeq = Math.max(lastSeq, seq);
  return { hello, messages: messages.sort((a, b) => a.seq - b.seq), changes, rest, lastSeq };
}
