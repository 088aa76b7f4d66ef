/** The list of names, commands or emoji above the composer; the focus stays in the text. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import { Avatar } from "../shared/avatar";
import { usageOf, type OfferedCommand } from "./commands";
import type { Completion, Suggestion } from "./completion";

/** More are shown by the arrow keys: a list that scrolls would need a place in the order of Tab. */
const MAX_OPTIONS = 6;

export function CompletionList({ completion }: { readonly completion: Completion }): JSX.Element | null {
  const { suggestions, selected, id, accept } = completion;
  const start = Math.max(0, Math.min(selected - MAX_OPTIONS / 2, suggestions.length - MAX_OPTIONS));
  const first = suggestions[0];
  if (first === undefined) return null;
  return (
    <ul class="bq-mentions" role="listbox" id={id} aria-label={labelOf(first)}>
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
          {"user" in suggestion && <NameOption user={suggestion.user} />}
          {"command" in suggestion && <CommandOption command={suggestion.command} />}
          {"emoji" in suggestion && (
            <>
              <span>{suggestion.emoji}</span> <code dir="ltr">:{suggestion.names.join(": :")}:</code>
            </>
          )}
        </li>
      ))}
    </ul>
  );
}

function labelOf(suggestion: Suggestion): string {
  if ("emoji" in suggestion) return strings.emojiList;
  return "command" in suggestion ? strings.commandList : strings.memberList;
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
