/** One result of a search: who said it, when, and the words in their context. */

import type { JSX } from "preact";
import { formatDateAndTime, toIsoString } from "../../i18n/format";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { attachmentNames } from "../attachments/names";
import { snippet } from "./hits";

interface Props {
  readonly id: string;
  readonly message: Message;
  readonly query: string;
  readonly selected: boolean;
  readonly onChoose: (seq: number) => void;
}

export function SearchHit({ id, message, query, selected, onChoose }: Props): JSX.Element {
  const text = message.text || attachmentNames(message) || (message.deleted ? strings.deleted : "");
  return (
    <li
      id={id}
      class="bq-hit"
      role="option"
      aria-selected={selected}
      data-hit={message.seq}
      ref={(item) => {
        if (selected) item?.scrollIntoView({ block: "nearest" });
      }}
      // Not a click, before which the box would lose the focus.
      onMouseDown={(event) => event.preventDefault()}
      onClick={() => onChoose(message.seq)}
    >
      <p class="bq-hit-who">
        <b dir="auto">{message.user}</b>
        <time dir="auto" dateTime={toIsoString(message.at)}>
          {formatDateAndTime(message.at, Date.now())}
        </time>
      </p>
      <p dir="auto">
        {snippet(text, query).map((segment) => (segment.hit ? <mark>{segment.text}</mark> : segment.text))}
      </p>
    </li>
  );
}
