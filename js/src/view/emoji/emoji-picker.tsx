/** A dialog to choose an emoji: a search, and a grid in which the arrow keys move. */

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import { IconButton } from "../shared/icon-button";
import { CloseIcon } from "../shared/icons";
import { EMOJI, findEmoji, type Emoji } from "./search";

/** As the style sheet has it. */
const COLUMNS = 8;
const IS_EMOJI = /^\p{Emoji_Presentation}|^\p{Emoji}\uFE0F/u;

interface Props {
  readonly onChoose: (emoji: string) => void;
  readonly onClose: () => void;
}

export function EmojiPicker({ onChoose, onClose }: Props): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [query, setQuery] = useState("");
  // A layout effect, so that the next key already goes into the search.
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const found = foundBy(query.trim());
  const choose = (emoji: string): void => {
    dialog.current?.close();
    onChoose(emoji);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const places = [...(dialog.current?.querySelectorAll<HTMLElement>("input, .bq-emoji-grid button") ?? [])];
    const index = places.indexOf(event.target as HTMLElement);
    const inGrid = index > 0;
    const sideways = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const down = { ArrowDown: inGrid ? COLUMNS : 1, ArrowUp: -COLUMNS }[event.key];
    const step = inGrid ? (sideways ?? down) : down;
    if (step === undefined || index < 0) return;
    event.preventDefault();
    places[Math.max(0, Math.min(index + step, places.length - 1))]?.focus();
  };
  return (
    <dialog
      ref={dialog}
      class="bq-picker"
      aria-label={strings.chooseEmoji}
      onClose={onClose}
      onKeyDown={onKeyDown}
      onClick={(event) => event.target === event.currentTarget && event.currentTarget.close()}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (found[0] !== undefined) choose(found[0].emoji);
        }}
      >
        <input
          type="search"
          autocomplete="off"
          spellcheck={false}
          aria-label={strings.findEmoji}
          placeholder={strings.findEmoji}
          value={query}
          onInput={({ currentTarget }) => setQuery(currentTarget.value)}
        />
        <IconButton label={strings.close} onClick={() => dialog.current?.close()}>
          <CloseIcon />
        </IconButton>
      </form>
      <div class="bq-emoji-grid" role="group" aria-label={strings.emojiList}>
        {found.map(({ emoji, names }, index) => (
          <button
            key={emoji}
            type="button"
            tabIndex={index === 0 ? 0 : -1}
            aria-label={names[0] === undefined ? emoji : `${emoji} ${names[0]}`}
            title={names.map((name) => `:${name}:`).join(" ")}
            onClick={() => choose(emoji)}
          >
            {emoji}
          </button>
        ))}
      </div>
      <p aria-live="polite">{found.length === 0 && strings.noEmoji}</p>
    </dialog>
  );
}

/** One that is pasted is offered too, though it has no name here. */
const foundBy = (query: string): readonly Emoji[] => {
  if (query === "") return EMOJI;
  return IS_EMOJI.test(query) ? [{ emoji: query, names: [] }] : findEmoji(query.replaceAll(":", ""));
};
