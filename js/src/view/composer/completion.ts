/** Completion of `@name`, `/command` and `:emoji:` in the composer: the state of the list and its keys. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { State } from "../../model/state";
import { findEmoji, type Emoji } from "../emoji/search";
import { useUniqueId } from "../shared/hooks";
import { candidates, mentionableNames, mentionAt } from "../shared/mentions";
import { completeWord, type Word } from "../shared/words";
import { commandAt, matchingCommands, type OfferedCommand } from "./commands";

/** What a word may become. */
export type Suggestion =
  | { readonly text: string; readonly user: string }
  | { readonly text: string; readonly command: OfferedCommand }
  | ({ readonly text: string } & Emoji);

/** At the beginning of a word, and not a smiley such as `:D`. */
const EMOJI_BEFORE_CARET = /(?:^|[\s(])(:([a-z0-9_+-]{2,26}))$/u;

export interface Completion {
  /** Empty while the list is closed. */
  readonly suggestions: readonly Suggestion[];
  readonly selected: number;
  /** Of the list's element. */
  readonly id: string;
  /** To be called after the caret or the text changed. */
  readonly update: () => void;
  readonly accept: (suggestion: Suggestion) => void;
  readonly close: () => void;
  /** Returns true if the list used the key. */
  readonly handleKey: (event: KeyboardEvent) => boolean;
}

export function useCompletion(
  box: { readonly current: HTMLTextAreaElement | null },
  state: State,
  commands: readonly OfferedCommand[],
  setText: (text: string) => void,
): Completion {
  const id = useUniqueId();
  const [word, setWord] = useState<CompletableWord | null>(null);
  const [index, select] = useState(0);
  /** The caret's position once the completed text is in the box. */
  const caret = useRef<number | null>(null);
  /** The word for which the list was closed. */
  const closedFor = useRef<CompletableWord | null>(null);
  useLayoutEffect(() => {
    if (caret.current !== null) box.current?.setSelectionRange(caret.current, caret.current);
    caret.current = null;
  });
  const suggestions = word === null ? [] : suggestionsFor(word, state, commands);
  const selected = Math.min(index, suggestions.length - 1);
  const update = (): void => {
    const { value = "", selectionStart = 0, selectionEnd = 0 } = box.current ?? {};
    const found = selectionStart === selectionEnd ? wordAt(value, selectionStart) : null;
    if (found?.start !== closedFor.current?.start || found?.kind !== closedFor.current?.kind) closedFor.current = null;
    if (found?.query !== word?.query) select(0);
    setWord(closedFor.current === null ? found : null);
  };
  const close = (): void => {
    closedFor.current = word;
    setWord(null);
  };
  const accept = ({ text }: Suggestion): void => {
    if (word === null || box.current === null) return;
    const completed = completeWord(box.current.value, word, text);
    caret.current = completed.caret;
    setText(completed.text);
    setWord(null);
  };
  const handleKey = ({ key, shiftKey }: KeyboardEvent): boolean => {
    if (suggestions.length === 0 || shiftKey) return false;
    if (key === "ArrowDown") select((selected + 1) % suggestions.length);
    else if (key === "ArrowUp") select((selected + suggestions.length - 1) % suggestions.length);
    else if (key === "Enter" || key === "Tab" || (key === ":" && isNamed(suggestions[0]!, word!))) accept(suggestions[selected]!);
    else if (key === "Escape") close();
    else return false;
    return true;
  };
  return { suggestions, selected, id, update, accept, close, handleKey };
}

interface CompletableWord extends Word {
  readonly kind: "mention" | "command" | "emoji";
}

/** Whether a colon ends the name of the emoji. */
const isNamed = (suggestion: Suggestion, { query }: Word): boolean => "emoji" in suggestion && suggestion.names.includes(query);

function wordAt(text: string, caret: number): CompletableWord | null {
  const command = commandAt(text, caret);
  if (command !== null) return { kind: "command", ...command };
  const mention = mentionAt(text, caret);
  if (mention !== null) return { kind: "mention", ...mention };
  const [, emoji, query = ""] = EMOJI_BEFORE_CARET.exec(text.slice(0, caret)) ?? [];
  return emoji === undefined ? null : { kind: "emoji", start: caret - emoji.length, query };
}

function suggestionsFor(word: CompletableWord, state: State, commands: readonly OfferedCommand[]): Suggestion[] {
  if (word.kind === "command") {
    return matchingCommands(commands, word).map((command) => ({ text: `/${command.name}`, command }));
  }
  if (word.kind === "emoji") return findEmoji(word.query).map((found) => ({ text: found.emoji, ...found }));
  return candidates(mentionableNames(state), word).map((user) => ({ text: `@${user}`, user }));
}
