/** The reactions to a message: a button per emoji, which adds or removes the reader's own. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";

interface Props {
  readonly reactions: Readonly<Record<string, readonly string[]>>;
  readonly user: string;
  readonly onReact: (emoji: string, on: boolean) => void;
}

export function Reactions({ reactions, user, onReact }: Props): JSX.Element | null {
  const given = Object.entries(reactions).filter(([, users]) => users.length > 0);
  if (given.length === 0) return null;
  return (
    <div class="bq-reactions">
      {given.map(([emoji, users]) => {
        const own = users.includes(user);
        return (
          <button
            key={emoji}
            type="button"
            class="bq-reaction"
            aria-pressed={own}
            aria-label={strings.reactionLabel(emoji, users)}
            title={users.join(", ")}
            onClick={() => onReact(emoji, !own)}
          >
            <span dir="auto">{emoji}</span>
            <small>{users.length}</small>
          </button>
        );
      })}
    </div>
  );
}
