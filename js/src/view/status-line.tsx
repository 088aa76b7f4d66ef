/** The connection in words: one polite status line, under the box one writes in. */

import type { JSX } from "preact";
import type { State } from "../model/state";
import { useNow } from "./shared/hooks";
import { reasonOf, words } from "../i18n/strings";

export type Tone = "good" | "wait" | "bad";

export interface Connection {
  readonly tone: Tone;
  readonly text: string;
  /** When the next attempt starts, in milliseconds since the epoch. */
  readonly retryAt: number | null;
}

export function connectionOf(state: State): Connection {
  const { status, link, loaded } = state;
  const say = (tone: Tone, text: string, retryAt: number | null = null): Connection => ({ tone, text, retryAt });
  if (link === "gone") return say("bad", words.kernelGone);
  const reason = status.error === null ? null : reasonOf(status.error);
  if (status.status === "closed") return say("bad", reason ?? words.closed);
  if (link === "busy") return say("wait", words.kernelBusy);
  if (status.status === "reconnecting") return say("wait", reason ?? words.offline, status.retry_at);
  if (status.status === "connecting") return say("wait", reason ?? words.connecting, status.retry_at);
  return loaded ? say("good", words.connected) : say("wait", words.loading);
}

export function StatusLine({ state }: { readonly state: State }): JSX.Element {
  const { tone, text, retryAt } = connectionOf(state);
  const waiting = tone === "good" ? 0 : state.pending.filter((each) => each.state === "sending").length;
  return (
    <p class={`bq-status bq-${tone}`} role="status">
      <span class="bq-dot" aria-hidden="true" />
      <span class="bq-status-text">
        {text}
        {retryAt !== null && <Countdown until={retryAt} />}
        {waiting > 0 && ` · ${words.waiting(waiting)}`}
      </span>
    </p>
  );
}

/** Hidden from screen readers: a status that is read out every second is no help. */
function Countdown({ until }: { readonly until: number }): JSX.Element {
  const left = Math.ceil((until - useNow(until)) / 1_000);
  return <span aria-hidden="true"> · {left > 0 ? words.nextTry(left) : words.trying}</span>;
}
