/** The state of the connection, as the window's one `role=status` line. */

import type { JSX } from "preact";
import { errorText, strings } from "../i18n/strings";
import type { State } from "../model/state";
import { useNow } from "./shared/hooks";

type Tone = "good" | "wait" | "left" | "bad";

interface ConnectionStatus {
  readonly tone: Tone;
  readonly text: string;
  /** When the next attempt starts, in milliseconds since the epoch. */
  readonly retryAt: number | null;
}

function connectionStatus({ status, comm, loaded }: State, queued: number): ConnectionStatus {
  const make = (tone: Tone, text: string, retryAt: number | null = null): ConnectionStatus => ({ tone, text, retryAt });
  if (comm === "gone") return make("bad", strings.commClosed);
  const reason = status.error === null ? null : errorText(status.error);
  // Without an error the notebook's own code has closed it.
  if (status.status === "closed") return reason === null ? make("left", strings.left) : make("bad", reason);
  if (comm === "busy") return make("wait", queued > 0 ? strings.kernelBusyQueued : strings.kernelBusy);
  if (status.status === "reconnecting") return make("wait", reason ?? strings.offline, status.retry_at);
  if (status.status === "connecting") return make("wait", reason ?? strings.connecting, status.retry_at);
  return loaded ? make("good", strings.connected) : make("wait", strings.loading);
}

export function StatusLine({ state }: { readonly state: State }): JSX.Element {
  const queued = state.pending.filter((draft) => draft.state === "sending").length;
  const { tone, text, retryAt } = connectionStatus(state, queued);
  return (
    <p class={`bq-status bq-${tone}`} role="status">
      <span class="bq-dot" aria-hidden="true" />
      <span class="bq-status-text">
        {text}
        {retryAt !== null && <Countdown until={retryAt} />}
        {tone !== "good" && queued > 0 && ` · ${strings.queuedMessages(queued)}`}
      </span>
    </p>
  );
}

/** Hidden from screen readers, which would read it out every second. */
function Countdown({ until }: { readonly until: number }): JSX.Element {
  const seconds = Math.ceil((until - useNow(until)) / 1_000);
  return <span aria-hidden="true"> · {seconds > 0 ? strings.retryIn(seconds) : strings.retryingNow}</span>;
}
