/** What the composer says about the command that is being written: how it is used, or that no member offers it. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import { usageOf, type OfferedCommand } from "./commands";

export function CommandHint({ command, id }: { readonly command: OfferedCommand; readonly id: string }): JSX.Element {
  return (
    <p class="bq-command" id={id}>
      <code dir="ltr">{usageOf(command)}</code> <span dir="auto">{command.help}</span>
    </p>
  );
}

interface UnknownCommandProps {
  readonly name: string;
  readonly onSend: () => void;
}

export function UnknownCommand({ name, onSend }: UnknownCommandProps): JSX.Element {
  return (
    <div class="bq-error bq-unknown">
      <span role="alert" dir="auto">
        {strings.unknownCommand(name)}
      </span>
      <button type="button" class="bq-link" onClick={onSend}>
        {strings.sendAsText}
      </button>
    </div>
  );
}
