/** Completion of `@name` in the composer: the state of the list of names and its keys. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { State } from "../../model/state";
import { newId } from "../../protocol/ids";
import { candidates, completeMention, mentionableNames, mentionAt, type Mention } from "../shared/mentions";

export interface MentionCompletion {
  /** Empty while the list is closed. */
  readonly names: readonly string[];
  readonly selected: number;
  /** Of the list's element. */
  readonly id: string;
  /** To be called after the caret or the text changed. */
  readonly update: () => void;
  readonly accept: (name: string) => void;
  readonly close: () => void;
  /** Returns true if the list used the key. */
  readonly handleKey: (event: KeyboardEvent) => boolean;
}

export function useMentionCompletion(
  box: { readonly current: HTMLTextAreaElement | null },
  state: State,
  setText: (text: string) => void,
): MentionCompletion {
  const [id] = useState(() => `bq-${newId()}`);
  const [mention, setMention] = useState<Mention | null>(null);
  const [index, select] = useState(0);
  /** The caret's position once the completed text is in the box. */
  const caret = useRef<number | null>(null);
  /** The start of the mention for which the list was closed. */
  const closedAt = useRef<number | null>(null);
  useLayoutEffect(() => {
    if (caret.current !== null) box.current?.setSelectionRange(caret.current, caret.current);
    caret.current = null;
  });
  const names = mention === null ? [] : candidates(mentionableNames(state), mention);
  const selected = Math.min(index, names.length - 1);
  const update = (): void => {
    const { value = "", selectionStart = 0, selectionEnd = 0 } = box.current ?? {};
    const found = selectionStart === selectionEnd ? mentionAt(value, selectionStart) : null;
    if (found?.start !== closedAt.current) closedAt.current = null;
    if (found?.query !== mention?.query) select(0);
    setMention(closedAt.current === null ? found : null);
  };
  const close = (): void => {
    closedAt.current = mention?.start ?? null;
    setMention(null);
  };
  const accept = (name: string): void => {
    if (mention === null || box.current === null) return;
    const completed = completeMention(box.current.value, mention, name);
    caret.current = completed.caret;
    setText(completed.text);
    setMention(null);
  };
  const handleKey = ({ key, shiftKey }: KeyboardEvent): boolean => {
    if (names.length === 0 || shiftKey) return false;
    if (key === "ArrowDown") select((selected + 1) % names.length);
    else if (key === "ArrowUp") select((selected + names.length - 1) % names.length);
    else if (key === "Enter" || key === "Tab") accept(names[selected]!);
    else if (key === "Escape") close();
    else return false;
    return true;
  };
  return { names, selected, id, update, accept, close, handleKey };
}
