/** The search over the window's top: a box, the messages that contain its words, and a way to a date. */

import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import type { PagePosition } from "../../model/state";
import type { Room } from "../../room/room";
import { IconButton } from "../shared/icon-button";
import { CloseIcon, SearchIcon } from "../shared/icons";
import { DateForm } from "./date-form";
import { SearchHit } from "./search-hit";
import { useSearch } from "./use-search";
import { useUniqueId } from "../shared/hooks";

/** The server's limit. */
const MAX_QUERY_CHARACTERS = 200;

interface Props {
  readonly room: Room;
  /** The words and results stay while it is closed. */
  readonly open: boolean;
  readonly onClose: () => void;
  readonly onGo: (to: PagePosition) => void;
}

export function SearchPanel({ room, open, onClose, onGo }: Props): JSX.Element | null {
  const [words, setWords] = useState("");
  const [selected, setSelected] = useState(0);
  /** Enter was pressed before the results came. */
  const [hurried, setHurried] = useState(false);
  const box = useRef<HTMLInputElement>(null);
  const id = useUniqueId();
  const search = useSearch(room, words);
  const hits = search.hits ?? [];
  useLayoutEffect(() => {
    if (!open) return;
    box.current?.focus();
    box.current?.select();
  }, [open]);
  useLayoutEffect(() => setSelected(0), [search.hits]);
  const choose = (seq: number | undefined): void => {
    setHurried(false);
    if (seq === undefined) return;
    setSelected(hits.findIndex((message) => message.seq === seq));
    onGo({ around: seq });
  };
  useEffect(() => {
    if (hurried && !search.busy) choose(hits[0]?.seq);
  }, [hurried, search.busy]);
  if (!open) return null;
  const handleKey = (event: KeyboardEvent): void => {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && hits.length > 0) {
      event.preventDefault();
      setSelected((selected + step + hits.length) % hits.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (search.busy) setHurried(true);
      else choose(hits[selected]?.seq);
    }
  };
  const active = hits.length > 0 && { "aria-activedescendant": `${id}-${selected}` };
  return (
    <div
      class="bq-find"
      role="search"
      onKeyDown={(event) => {
        if (event.key === "Escape" && !event.isComposing) onClose();
      }}
    >
      <div class="bq-find-box">
        <SearchIcon />
        <input
          ref={box}
          type="search"
          dir="auto"
          autocomplete="off"
          spellcheck={false}
          enterkeyhint="search"
          maxLength={MAX_QUERY_CHARACTERS}
          aria-label={strings.searchMessages}
          placeholder={strings.searchMessages}
          aria-controls={id}
          {...active}
          value={words}
          onInput={(event) => {
            setWords(event.currentTarget.value);
            setHurried(false);
          }}
          onKeyDown={handleKey}
        />
        <IconButton label={strings.closeSearch} onClick={onClose}>
          <CloseIcon />
        </IconButton>
      </div>
      <DateForm onGo={(at) => onGo({ at })} />
      <p class="bq-find-state" aria-live="polite" dir="auto">
        {stateOf(search, words)}
      </p>
      {/* Focusable, so that the keyboard can scroll it. */}
      <ul
        id={id}
        class="bq-hits"
        role="listbox"
        tabIndex={0}
        aria-label={strings.searchResults}
        {...active}
        hidden={hits.length === 0}
        onKeyDown={handleKey}
      >
        {hits.map((message, index) => (
          <SearchHit
            key={message.seq}
            id={`${id}-${index}`}
            message={message}
            query={search.query}
            selected={index === selected}
            onChoose={choose}
          />
        ))}
      </ul>
    </div>
  );
}

function stateOf({ hits, error, busy }: ReturnType<typeof useSearch>, words: string): string {
  if (words.trim() === "") return strings.searchHint;
  if (busy) return strings.searching;
  if (error !== "") return error;
  return strings.found(hits?.length ?? 0);
}
