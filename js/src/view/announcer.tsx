/** Tells screen readers what others say: only what is new, a few messages at once, never the history. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { indexOf, isOwn, type State } from "../model/state";
import { nameOf } from "./attachments/attachments";
import { cut } from "./shared/text";
import { words } from "../i18n/strings";

const BATCH_MS = 1_000;
const LONGEST = 200;

/** What to say about everything after `told`; empty where only we spoke. */
export function announcement(state: State, told: number): string {
  const fresh = state.messages
    .slice(indexOf(state.messages, told + 1))
    .filter(({ user, deleted }) => !deleted && !isOwn(state, user));
  const last = fresh.at(-1);
  if (last === undefined) return "";
  const names = (last.parts ?? []).map(nameOf).join(", ");
  return words.announce(fresh.length, last.user, cut([names, last.text].filter(Boolean).join(". "), LONGEST));
}

export function Announcer({ state }: { readonly state: State }): JSX.Element {
  const [said, say] = useState("");
  const latest = useRef(state);
  const told = useRef<number | null>(null);
  const epoch = useRef(state.epoch);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  latest.current = state;
  useEffect(() => {
    if (!state.loaded) return;
    if (told.current === null || epoch.current !== state.epoch) {
      told.current = state.last;
      epoch.current = state.epoch;
    }
    if (state.last <= told.current) return;
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      const text = announcement(latest.current, told.current ?? 0);
      told.current = latest.current.last;
      if (text !== "") say(text);
    }, BATCH_MS);
  }, [state.last, state.loaded, state.epoch]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <div class="bq-sr" aria-live="polite" aria-atomic="true">
      {said}
    </div>
  );
}
