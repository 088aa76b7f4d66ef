/** Completion of `@name` in the box: a list above it, walked with the arrow keys while the focus stays in the text. */

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { newId } from "../../room/room";
import type { State } from "../../model/state";
import { Avatar } from "../shared/avatar";
import { candidates, completed, mentionAt, namesOf, type Mention } from "../shared/mentions";
import { words } from "../../i18n/strings";

export interface Completion {
  readonly names: readonly string[];
  readonly chosen: number;
  readonly id: string;
  /** The caret moved, or the text changed. */
  readonly follow: () => void;
  readonly accept: (name: string) => void;
  readonly close: () => void;
  /** True where the key was for the list. */
  readonly key: (event: KeyboardEvent) => boolean;
}

export function useCompletion(
  box: { readonly current: HTMLTextAreaElement | null },
  state: State,
  setText: (text: string) => void,
): Completion {
  const [id] = useState(() => `bq-${newId()}`);
  const [mention, setMention] = useState<Mention | null>(null);
  const [index, choose] = useState(0);
  /** Where the caret goes once the completed text is in the box. */
  const caret = useRef<number | null>(null);
  const closed = useRef<number | null>(null);
  useLayoutEffect(() => {
    if (caret.current !== null) box.current?.setSelectionRange(caret.current, caret.current);
    caret.current = null;
  });
  const names = mention === null ? [] : candidates(namesOf(state), mention);
  const chosen = Math.min(index, names.length - 1);
  const follow = (): void => {
    const { value = "", selectionStart = 0, selectionEnd = 0 } = box.current ?? {};
    const found = selectionStart === selectionEnd ? mentionAt(value, selectionStart) : null;
    if (found?.start !== closed.current) closed.current = null;
    if (found?.query !== mention?.query) choose(0);
    setMention(closed.current === null ? found : null);
  };
  const close = (): void => {
    closed.current = mention?.start ?? null;
    setMention(null);
  };
  const accept = (name: string): void => {
    if (mention === null || box.current === null) return;
    const done = completed(box.current.value, mention, name);
    caret.current = done.caret;
    setText(done.text);
    setMention(null);
  };
  const key = ({ key: name, shiftKey }: KeyboardEvent): boolean => {
    if (names.length === 0 || shiftKey) return false;
    if (name === "ArrowDown") choose((chosen + 1) % names.length);
    else if (name === "ArrowUp") choose((chosen + names.length - 1) % names.length);
    else if (name === "Enter" || name === "Tab") accept(names[chosen]!);
    else if (name === "Escape") close();
    else return false;
    return true;
  };
  return { names, chosen, id, follow, accept, close, key };
}

export function Mentions({ completion }: { readonly completion: Completion }): JSX.Element | null {
  const { names, chosen, id, accept } = completion;
  if (names.length === 0) return null;
  return (
    <ul class="bq-mentions" role="listbox" id={id} aria-label={words.people}>
      {names.map((name, index) => (
        <li
          key={name}
          id={`${id}-${index}`}
          role="option"
          aria-selected={index === chosen}
          // Before the box loses the focus to it.
          onMouseDown={(event) => {
            event.preventDefault();
            accept(name);
          }}
        >
          <Avatar user={name} kernel={false} />
          <span dir="auto">{name}</span>
        </li>
      ))}
    </ul>
  );
}
