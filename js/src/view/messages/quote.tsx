/** The message that a reply quotes, as a button that leads to it. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { summary } from "../attachments/names";
import { MAX_QUOTE_CHARACTERS, truncate } from "../shared/text";

interface Props {
  readonly seq: number;
  /** Null if it is not in the list. */
  readonly message: Message | null;
  readonly onGo: (seq: number) => void;
}

export function Quote({ seq, message, onGo }: Props): JSX.Element {
  return (
    <button type="button" class="bq-quote" title={strings.showQuoted} onClick={() => onGo(seq)}>
      {message === null ? (
        <span>{strings.quoteUnavailable}</span>
      ) : (
        <>
          <b dir="auto">{message.user}</b>
          <span dir="auto">{truncate(message.deleted ? strings.deleted : summary(message), MAX_QUOTE_CHARACTERS)}</span>
        </>
      )}
    </button>
  );
}
