/** The list of names above the composer; the focus stays in the text. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import { Avatar } from "../shared/avatar";
import type { MentionCompletion } from "./mention-completion";

export function MentionList({ completion }: { readonly completion: MentionCompletion }): JSX.Element | null {
  const { names, selected, id, accept } = completion;
  if (names.length === 0) return null;
  return (
    <ul class="bq-mentions" role="listbox" id={id} aria-label={strings.memberList}>
      {names.map((name, index) => (
        <li
          key={name}
          id={`${id}-${index}`}
          role="option"
          aria-selected={index === selected}
          // On mouse down, because a click comes after the box has lost the focus.
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
