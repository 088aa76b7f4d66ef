/** Below a live message: that it is being written, and the button that stops it; afterwards how it ended. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";

interface Props {
  readonly message: Message;
  /** Its author was asked to stop. */
  readonly stopping: boolean;
  readonly onStop: (message: Message) => boolean;
}

export function LiveState({ message, stopping, onStop }: Props): JSX.Element | null {
  if (message.live) {
    return (
      <div class="bq-live">
        <span class="bq-writing">{stopping ? strings.stopping : message.progress ? strings.running : strings.writing}</span>
        {message.stoppable !== false && (
          /* Still there while it stops: an author who was offline did not get it. */
          <button type="button" class="bq-stop" onClick={() => onStop(message)}>
            {strings.stop}
          </button>
        )}
      </div>
    );
  }
  const ending = endingOf(message);
  return ending === "" ? null : <p class={`bq-live${message.end === "stopped" ? "" : " bq-ended-badly"}`} dir="auto">{ending}</p>;
}

/** How a live message ended, unless that was by itself, or its text says so, as that of `track` and `report`. */
export function endingOf({ end, stopped_by, progress, text }: Message): string {
  if (progress !== undefined && stopped_by !== undefined && text.includes(`stopped by ${stopped_by}`)) return "";
  if (end === "stopped") return stopped_by === undefined ? strings.stopped : strings.stoppedBy(stopped_by);
  if (end === "failed") return strings.failed;
  return end === "lost" ? strings.authorGone : "";
}
