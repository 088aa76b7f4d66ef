/** The progress of some work: a live message with a bar, its lines, and how it ended. */

import type { ComponentChildren, JSX } from "preact";
import { formatDuration } from "../../i18n/format";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { CheckIcon, CloseIcon, StopIcon } from "../shared/icons";

interface Props {
  readonly message: Message;
  /** Its state in words, with the button that stops it, and its time. */
  readonly children: ComponentChildren;
}

/** A text that is shown alone begins with its state. */
const STATE_SIGN = /^[⏳✓✗■]\s*/u;
/** A first estimate, made after some milliseconds, means nothing. */
const MIN_LEFT_MS = 1_000;
const ICONS = { done: CheckIcon, stopped: StopIcon, failed: CloseIcon, lost: CloseIcon };

export function ProgressCard({ message, children }: Props): JSX.Element {
  const { text, progress, live, end = "done" } = message;
  const [first = "", ...rest] = text.trim().split("\n");
  const leftMs = live ? (progress?.left_ms ?? 0) : 0;
  const left = leftMs < MIN_LEFT_MS ? "" : strings.timeLeft(formatDuration(leftMs));
  const lines = [rest.join("\n"), left].filter(Boolean).join(" · ");
  const title = first.replace(STATE_SIGN, "");
  const fraction = progress?.fraction === undefined ? null : Math.min(Math.max(progress.fraction, 0), 1);
  const hasBar = live === true || (end !== "done" && fraction !== null);
  const EndIcon = ICONS[end];
  return (
    <div class={`bq-progress bq-progress-${live ? "running" : end}`}>
      <p class="bq-progress-title">
        {!live && <EndIcon />}
        {!live && end === "done" && <span class="bq-sr">{strings.stepStates.done}</span>}
        <b dir="auto">{title}</b>
      </p>
      {hasBar && (
        <div
          class={`bq-bar${fraction === null ? " bq-indeterminate" : ""}`}
          role="progressbar"
          aria-label={title}
          {...(fraction !== null && {
            "aria-valuemin": 0,
            "aria-valuemax": 100,
            "aria-valuenow": Math.floor(fraction * 100),
            style: `--share: ${fraction}`,
          })}
        />
      )}
      <div class="bq-line">
        {lines !== "" && (
          <p class="bq-progress-lines" dir="auto">
            {lines}
          </p>
        )}
        {children}
      </div>
    </div>
  );
}
