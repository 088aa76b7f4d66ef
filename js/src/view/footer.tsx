/** The connection's status, and the name under which the reader writes. */

import type { JSX, RefObject } from "preact";
import { useId } from "preact/hooks";
import { strings } from "../i18n/strings";
import type { State } from "../model/state";
import { StatusLine } from "./status-line";

/** Names that images, systems and Jupyter give to all their users. */
const DEFAULT_NAMES = new Set(["jovyan", "root", "user", "admin", "ubuntu", "guest", "anonymous"]);

interface Props {
  readonly state: State;
  readonly verified: boolean;
  readonly nameInput: RefObject<HTMLInputElement | null>;
  /** The reader tried to send without a name. */
  readonly nameMissing: boolean;
  readonly onRename: (user: string) => void;
}

export function Footer({ state, verified, nameInput, nameMissing, onRename }: Props): JSX.Element {
  const fixed = verified || state.principal !== null;
  const hinted = !fixed && !nameMissing && DEFAULT_NAMES.has(state.user.trim().toLowerCase());
  const hintId = useId();
  return (
    <footer class="bq-footer">
      <StatusLine state={state} />
      <label class={`bq-name${nameMissing ? " bq-invalid" : ""}`}>
        <span aria-hidden="true">{strings.youAre}</span>
        <input
          ref={nameInput}
          aria-label={strings.yourName}
          placeholder={strings.yourName}
          dir="auto"
          autocomplete="nickname"
          spellcheck={false}
          maxLength={state.limits.user}
          readOnly={fixed}
          aria-describedby={hinted ? hintId : undefined}
          value={state.principal ?? state.user}
          onInput={(event) => onRename(event.currentTarget.value)}
        />
      </label>
      {hinted && (
        <p id={hintId} class="bq-hint" dir="auto">
          {strings.defaultName(state.user.trim())}
        </p>
      )}
      {nameMissing && (
        <p class="bq-error" role="alert">
          {strings.nameRequired}
        </p>
      )}
    </footer>
  );
}
