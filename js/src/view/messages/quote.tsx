/** The message that a reply quotes. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { summary } from "../attachments/names";
import { MAX_QUOTE_CHARACTERS, truncate } from "../shared/text";

/** `message` is null if it is not in the list. */
export function Quote({ message }: { readonly message: Message | null }): JSX.Element {
  if (message === null) return <p class="bq-quote">{strings.quoteUnavailable}</p>;
  return (
    <p class="bq-quote">
      <b dir="auto">{message.user}</b>
      <span dir="auto">{truncate(message.deleted ? strings.deleted : summary(message), MAX_QUOTE_CHARACTERS)}</span>
    </p>
  );
}
