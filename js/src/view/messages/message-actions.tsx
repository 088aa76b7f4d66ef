/** What one can do with a message: a small toolbar on the message that is pointed at or has the focus. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Message } from "../../protocol/frames";
import { DeleteIcon, EditIcon, ReactIcon, ReplyIcon } from "../shared/icons";
import { words } from "../../i18n/strings";

const QUICK = ["👍", "❤️", "😄", "🎉", "👀", "✅"];

export interface Deeds {
  readonly onReply: (message: Message) => void;
  readonly onEdit: (message: Message) => void;
  // False where nothing can be sent just now.
  readonly onRemove: (message: Message) => boolean;
  readonly onReact: (message: Message, emoji: string, on: boolean) => boolean;
  readonly onAnswer: (question: Message, text: string, choice: boolean) => boolean;
}

interface Props extends Deeds {
  readonly message: Message;
  readonly own: boolean;
}

export function Actions({ message, own, ...deeds }: Props): JSX.Element {
  const [choosing, choose] = useState(false);
  const react = (emoji: string): void => {
    choose(false);
    deeds.onReact(message, emoji, true);
  };
  return (
    <div class="bq-actions" role="group" aria-label={words.actions}>
      {choosing &&
        QUICK.map((emoji) => (
          <button key={emoji} type="button" class="bq-emoji" onClick={() => react(emoji)}>
            {emoji}
          </button>
        ))}
      <button
        type="button"
        aria-label={words.react}
        aria-expanded={choosing}
        title={words.react}
        onClick={() => choose(!choosing)}
      >
        <ReactIcon />
      </button>
      {!choosing && (
        <>
          <button type="button" aria-label={words.reply} title={words.reply} onClick={() => deeds.onReply(message)}>
            <ReplyIcon />
          </button>
          {own && (
            <>
              <button type="button" aria-label={words.edit} title={words.edit} onClick={() => deeds.onEdit(message)}>
                <EditIcon />
              </button>
              <button
                type="button"
                aria-label={words.remove}
                title={words.remove}
                onClick={() => deeds.onRemove(message)}
              >
                <DeleteIcon />
              </button>
            </>
          )}
        </>
      )}
    </div>
  );
}
