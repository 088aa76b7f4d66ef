/** Announces new messages of others to screen readers: several at once, and never the history. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { strings } from "../i18n/strings";
import { indexOfSeq, isOwn, type State } from "../model/state";
import { attachmentNames } from "./attachments/names";
import { truncate } from "./shared/text";

const ANNOUNCE_INTERVAL_MS = 1_000;
const MAX_ANNOUNCED_CHARACTERS = 200;

/** The announcement of all messages of others after `announcedSeq`; empty if there are none. */
function announcement(state: State, announcedSeq: number): string {
  const added = state.messages
    .slice(indexOfSeq(state.messages, announcedSeq + 1))
    .filter((message) => !message.deleted && !isOwn(state, message));
  const last = added.at(-1);
  if (last === undefined) return "";
  const content = [attachmentNames(last), last.text].filter(Boolean).join(". ");
  return strings.announce(added.length, last.user, truncate(content, MAX_ANNOUNCED_CHARACTERS));
}

export function Announcer({ state }: { readonly state: State }): JSX.Element {
  const [text, setText] = useState("");
  const latestState = useRef(state);
  const announcedSeq = useRef<number | null>(null);
  const epoch = useRef(state.epoch);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  latestState.current = state;
  useEffect(() => {
    if (!state.loaded) return;
    if (announcedSeq.current === null || epoch.current !== state.epoch) {
      announcedSeq.current = state.lastSeq;
      epoch.current = state.epoch;
    }
    if (state.lastSeq <= announcedSeq.current) return;
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      const added = announcement(latestState.current, announcedSeq.current ?? 0);
      announcedSeq.current = latestState.current.lastSeq;
      if (added !== "") setText(added);
    }, ANNOUNCE_INTERVAL_MS);
  }, [state.lastSeq, state.loaded, state.epoch]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <div class="bq-sr" aria-live="polite" aria-atomic="true">
      {text}
    </div>
  );
}
