/** The actions on a message: a toolbar on the message that is pointed at or focused. */

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { useCopy } from "../shared/hooks";
import { IconButton } from "../shared/icon-button";
import { CheckIcon, DeleteIcon, EditIcon, LinkIcon, MoreIcon, PinIcon, ReactIcon, ReplyIcon } from "../shared/icons";

const QUICK_REACTIONS = ["👍", "❤️", "😄", "🎉", "👀", "✅"];

/** Those with a result return false if nothing can be sent. */
export interface MessageActions {
  /** Goes to the message `seq`. */
  readonly onGo: (seq: number) => void;
  /** The address of a message. */
  readonly addressOf: (message: Message) => Promise<string>;
  readonly onReply: (message: Message) => void;
  readonly onEdit: (message: Message) => void;
  readonly onRemove: (message: Message) => boolean;
  readonly onReact: (message: Message, emoji: string, on: boolean) => boolean;
  readonly onPin: (message: Message, on: boolean) => boolean;
  /** Lets the reader choose any emoji to react with. */
  readonly onPickEmoji: (message: Message) => void;
  readonly onAnswer: (question: Message, text: string, choice: boolean) => boolean;
  readonly onVote: (poll: Message, choice: string) => boolean;
  readonly onDiscard: (cid: string) => void;
  /** Asks the author of a live message to end it. */
  readonly onStop: (message: Message) => boolean;
}

interface Props extends MessageActions {
  readonly message: Message;
  readonly own: boolean;
  /** The reader may pin it, and delete what others wrote. */
  readonly moderator: boolean;
}

export function MessageToolbar({ message, own, moderator, ...actions }: Props): JSX.Element {
  const [pickerOpen, setPickerOpen] = useState(false);
  const [asked, setAsked] = useState(false);
  const { copied, copy } = useCopy();
  const copyLink = async (): Promise<void> => {
    await copy(await actions.addressOf(message));
  };
  if (asked) return <Confirmation onDelete={() => actions.onRemove(message)} onClose={() => setAsked(false)} />;
  const react = (emoji: string): void => {
    setPickerOpen(false);
    actions.onReact(message, emoji, true);
  };
  return (
    <div class="bq-actions" role="group" aria-label={strings.messageActions}>
      {pickerOpen && (
        <>
          {QUICK_REACTIONS.map((emoji) => (
            <button key={emoji} type="button" class="bq-emoji" onClick={() => react(emoji)}>
              {emoji}
            </button>
          ))}
          <IconButton
            label={strings.moreReactions}
            onClick={() => {
              setPickerOpen(false);
              actions.onPickEmoji(message);
            }}
          >
            <MoreIcon />
          </IconButton>
        </>
      )}
      <IconButton label={strings.react} aria-expanded={pickerOpen} onClick={() => setPickerOpen(!pickerOpen)}>
        <ReactIcon />
      </IconButton>
      {!pickerOpen && (
        <>
          <IconButton label={strings.reply} onClick={() => actions.onReply(message)}>
            <ReplyIcon />
          </IconButton>
          <IconButton label={copied ? strings.copied : strings.copyMessageLink} onClick={() => void copyLink()}>
            {copied ? <CheckIcon /> : <LinkIcon />}
          </IconButton>
          {own && !message.live && (
            <IconButton label={strings.edit} onClick={() => actions.onEdit(message)}>
              <EditIcon />
            </IconButton>
          )}
          {moderator && (
            <IconButton
              label={message.pinned === undefined ? strings.pin : strings.unpin}
              onClick={() => actions.onPin(message, message.pinned === undefined)}
            >
              <PinIcon />
            </IconButton>
          )}
          {(own || moderator) && (
            <IconButton label={strings.remove} onClick={() => setAsked(true)}>
              <DeleteIcon />
            </IconButton>
          )}
        </>
      )}
    </div>
  );
}

interface ConfirmationProps {
  readonly onDelete: () => void;
  readonly onClose: () => void;
}

/** In place of the toolbar, with the focus on what does no harm. */
function Confirmation({ onDelete, onClose }: ConfirmationProps): JSX.Element {
  const cancel = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => cancel.current?.focus(), []);
  const handleKey = (event: KeyboardEvent): void => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
  };
  return (
    <div class="bq-actions bq-confirm" role="group" aria-label={strings.confirmRemoval} onKeyDown={handleKey}>
      <span>{strings.confirmRemoval}</span>
      <button
        type="button"
        class="bq-danger"
        onClick={() => {
          onClose();
          onDelete();
        }}
      >
        {strings.remove}
      </button>
      <button type="button" ref={cancel} onClick={onClose}>
        {strings.cancel}
      </button>
    </div>
  );
}
