/** Announces new messages of others to screen readers: several at once, never the history, and live ones at their end. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { strings } from "../i18n/strings";
import { indexOfSeq, isOwn, messageBySeq, type State } from "../model/state";
import type { Message } from "../protocol/entries";
import { attachmentNames } from "./attachments/names";
import { endingOf } from "./messages/live-state";
import { truncate } from "./shared/text";

const ANNOUNCE_INTERVAL_MS = 1_000;
const MAX_ANNOUNCED_CHARACTERS = 200;

/** What has been announced: the messages up to `seq`, except those that were live. */
export interface Announced {
  readonly epoch: string | null;
  readonly seq: number;
  readonly live: readonly number[];
}

export const announcedNow = ({ epoch, lastSeq, messages }: State): Announced => ({
  epoch,
  seq: lastSeq,
  live: messages.flatMap(({ seq, live }) => (live ? [seq] : [])),
});

/** What others have sent or finished since. */
export function addedSince({ seq, live }: Announced, state: State): Message[] {
  const finished = live.flatMap((each) => messageBySeq(state.messages, each) ?? []);
  return [...finished, ...state.messages.slice(indexOfSeq(state.messages, seq + 1))].filter(
    (message) => !message.deleted && !message.live && !isOwn(state, message),
  );
}

/** The announcement of that; empty if there is nothing. */
function announcement(state: State, announced: Announced): string {
  const added = addedSince(announced, state);
  const last = added.at(-1);
  return last === undefined ? "" : strings.announce(added.length, last.user, contentOf(last));
}

export function contentOf(message: Message): string {
  const content = [attachmentNames(message), message.text].filter(Boolean).join(". ");
  return [truncate(content, MAX_ANNOUNCED_CHARACTERS), endingOf(message)].filter(Boolean).join(". ");
}

export function Announcer({ state }: { readonly state: State }): JSX.Element {
  const [text, setText] = useState("");
  const latestState = useRef(state);
  const announced = useRef<Announced | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  latestState.current = state;
  useEffect(() => {
    if (!state.loaded) return;
    if (announced.current?.epoch !== state.epoch) announced.current = announcedNow(state);
    if (state.lastSeq <= announced.current.seq) return;
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      const added = announced.current === null ? "" : announcement(latestState.current, announced.current);
      announced.current = announcedNow(latestState.current);
      if (added !== "") setText(added);
    }, ANNOUNCE_INTERVAL_MS);
  }, [state.lastSeq, state.loaded, state.epoch]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <div class="bq-sr" aria-live="polite" aria-atomic="true">
      {text === "" ? null : text}
    </div>
  );
}
