/** The connection's status, and the name under which the reader writes. */

import type { JSX, RefObject } from "preact";
import { strings } from "../i18n/strings";
import type { State } from "../model/state";
import { StatusLine } from "./status-line";

interface Props {
  readonly state: State;
  readonly verified: boolean;
  readonly nameInput: RefObject<HTMLInputElement | null>;
  /** The reader tried to send without a name. */
  readonly nameMissing: boolean;
  readonly onRename: (user: string) => void;
}

export function Footer({ state, verified, nameInput, nameMissing, onRename }: Props): JSX.Element {
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
          readOnly={verified || state.principal !== null}
          value={state.principal ?? state.user}
          onInput={(event) => onRename(event.currentTarget.value)}
        />
      </label>
      {nameMissing && (
        <p class="bq-error" role="alert">
          {strings.nameRequired}
        </p>
      )}
    </footer>
  );
}
