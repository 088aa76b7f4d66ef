/** A row of the list for a draft that is being sent, or that failed. */

import type { JSX } from "preact";
import { formatTime, toIsoString } from "../../i18n/format";
import { errorText, strings } from "../../i18n/strings";
import type { PendingDraft } from "../../model/pending";
import { Attachments } from "../attachments/attachments";
import { MessageText } from "./message-text";

interface Props {
  readonly pending: PendingDraft;
  /** The row above has another author. */
  readonly startsGroup: boolean;
  readonly onRetry: (cid: string) => void;
  readonly onDiscard: (cid: string) => void;
}

export function PendingItem({ pending, startsGroup, onRetry, onDiscard }: Props): JSX.Element {
  const { cid, draft, at, state, error } = pending;
  const failed = state === "failed";
  const text = "text" in draft ? draft.text : "emoji" in draft ? draft.emoji : "";
  const attachments = (draft.type === "chat.send" ? draft.parts : undefined) ?? [];
  return (
    <li class={`bq-row bq-own bq-last bq-pending${startsGroup ? " bq-first" : ""}`} data-row data-cid={cid}>
      <div class="bq-message">
        <div class="bq-column">
          {(text !== "" || attachments.length > 0) && (
            <div class="bq-bubble">
              {attachments.length > 0 && <Attachments attachments={attachments} />}
              <div class="bq-line">
                {text !== "" && <MessageText text={text} format={draft.type === "chat.send" ? draft.format : undefined} />}
                <p class="bq-meta">
                  {!failed && <span>{strings.sending}</span>}
                  <time dir="auto" dateTime={toIsoString(at)}>{formatTime(at)}</time>
                </p>
              </div>
            </div>
          )}
          {!failed && error !== undefined && <p class="bq-delivery">{errorText(error)}</p>}
          {failed && (
            <div class="bq-delivery bq-failed">
              <span dir="auto">
                {strings.failures[draft.type]}
                {error !== undefined && `: ${errorText(error)}`}
              </span>
              <button type="button" class="bq-link" onClick={() => onRetry(cid)}>
                {strings.retry}
              </button>
              <button type="button" class="bq-link" onClick={() => onDiscard(cid)}>
                {strings.discard}
              </button>
            </div>
          )}
        </div>
      </div>
    </li>
  );
}
