/** The pinned messages: a strip below the header with the last one, and a list of all. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { summary } from "../attachments/names";
import { Disclosure } from "../shared/disclosure";
import { ExpandIcon, PinIcon } from "../shared/icons";
import { MAX_QUOTE_CHARACTERS, truncate } from "../shared/text";

interface Props {
  /** In the order in which they were pinned. */
  readonly messages: readonly Message[];
  readonly onGo: (seq: number) => void;
}

export function Pinned({ messages, onGo }: Props): JSX.Element | null {
  const [visits, setVisits] = useState(0);
  const [last, ...others] = [...messages].reverse();
  if (last === undefined) return null;
  const go = (seq: number): void => {
    setVisits(visits + 1);
    onGo(seq);
  };
  return (
    <div class="bq-pins" role="group" aria-label={strings.pinnedMessages}>
      <PinIcon />
      <PinnedMessage message={last} onGo={go} />
      {others.length > 0 && (
        <Disclosure key={visits} class="bq-all-pins" label={strings.allPinned(messages.length)} button={<>{messages.length}<ExpandIcon /></>}>
          <ul class="bq-popover">
            {[last, ...others].map((message) => (
              <li key={message.seq}>
                <PinnedMessage message={message} onGo={go} />
              </li>
            ))}
          </ul>
        </Disclosure>
      )}
    </div>
  );
}

function PinnedMessage({ message, onGo }: { readonly message: Message; readonly onGo: Props["onGo"] }): JSX.Element {
  return (
    <button type="button" class="bq-pin" title={strings.showPinned} onClick={() => onGo(message.seq)}>
      <b dir="auto">{message.user}</b>
      <span dir="auto">{truncate(summary(message), MAX_QUOTE_CHARACTERS)}</span>
    </button>
  );
}
