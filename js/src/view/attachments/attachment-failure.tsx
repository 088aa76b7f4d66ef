/** Why an attachment is not shown, with a button to try again. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";

interface Props {
  readonly name: string;
  readonly reason: string;
  readonly onRetry?: () => void;
}

export function AttachmentFailure({ name, reason, onRetry }: Props): JSX.Element {
  return (
    <p class="bq-missing">
      <span dir="auto">
        <b>{name}</b> {reason}
      </span>
      {onRetry && (
        <button type="button" class="bq-link" onClick={onRetry}>
          {strings.retry}
        </button>
      )}
    </p>
  );
}
