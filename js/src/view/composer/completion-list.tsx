/** The list of names or commands above the composer; the focus stays in the text. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import { Avatar } from "../shared/avatar";
import { usageOf, type OfferedCommand } from "./commands";
import type { Completion } from "./completion";

/** More are shown by the arrow keys: a list that scrolls would need a place in the order of Tab. */
const MAX_OPTIONS = 6;

export function CompletionList({ completion }: { readonly completion: Completion }): JSX.Element | null {
  const { suggestions, selected, id, accept } = completion;
  const start = Math.max(0, Math.min(selected - MAX_OPTIONS / 2, suggestions.length - MAX_OPTIONS));
  const first = suggestions[0];
  if (first === undefined) return null;
  return (
    <ul class="bq-mentions" role="listbox" id={id} aria-label={"command" in first ? strings.commandList : strings.memberList}>
      {suggestions.slice(start, start + MAX_OPTIONS).map((suggestion, offset) => (
        <li
          key={suggestion.text}
          id={`${id}-${start + offset}`}
          role="option"
          aria-selected={start + offset === selected}
          aria-setsize={suggestions.length}
          aria-posinset={start + offset + 1}
          // On mouse down, because a click comes after the box has lost the focus.
          onMouseDown={(event) => {
            event.preventDefault();
            accept(suggestion);
          }}
        >
          {"command" in suggestion ? <CommandOption command={suggestion.command} /> : <NameOption user={suggestion.user} />}
        </li>
      ))}
    </ul>
  );
}

function NameOption({ user }: { readonly user: string }): JSX.Element {
  return (
    <>
      <Avatar user={user} program={false} />
      <span dir="auto">{user}</span>
    </>
  );
}

function CommandOption({ command }: { readonly command: OfferedCommand }): JSX.Element {
  const { help = "", users } = command;
  return (
    <div class="bq-command">
      <code dir="ltr">{usageOf(command)}</code> <small dir="auto">{users.join(", ")}</small> <span dir="auto">{help}</span>
    </div>
  );
}
