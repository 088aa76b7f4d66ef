/** The connection's status, and the name under which the reader writes. */

import type { JSX, RefObject } from "preact";

import { errorText, strings } from "../i18n/strings";
import type { State } from "../model/state";
import { StatusLine } from "./status-line";
import { useUniqueId } from "./shared/hooks";

/** Names that images, systems and Jupyter give to all their users. */
const DEFAULT_NAMES = new Set(["jovyan", "root", "user", "admin", "ubuntu", "guest", "anonymous"]);

interface Props {
  readonly state: State;
  readonly verified: boolean;
  readonly nameInput: RefObject<HTMLInputElement | null>;
  /** The reader tried to send without a name. */
  readonly nameMissing: boolean;
  readonly onRename: (user: string) => void;
  /** The reader has finished the name, by Enter. */
  readonly onNamed: () => void;
}

export function Footer({ state, verified, nameInput, nameMissing, onRename, onNamed }: Props): JSX.Element {
  const fixed = verified || state.principal !== null;
  const name = state.user.trim();
  const refusal = state.pending.find(({ draft, error }) => error?.field === "user" && draft.user === state.user)?.error;
  const error = nameMissing ? strings.nameRequired : !fixed && refusal !== undefined ? errorText(refusal) : "";
  const hint = name === "" ? strings.nameWanted : DEFAULT_NAMES.has(name.toLowerCase()) ? strings.defaultName(name) : "";
  const note = error || (fixed ? "" : hint);
  const noteId = useUniqueId();
  return (
    <footer class="bq-footer">
      <StatusLine state={state} />
      <label class={`bq-name${error ? " bq-invalid" : ""}`}>
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
          aria-invalid={error !== ""}
          aria-describedby={note ? noteId : undefined}
          value={state.principal ?? state.user}
          onInput={(event) => onRename(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.isComposing || name === "") return;
            event.preventDefault(); // it would begin a line where the focus goes
            onNamed();
          }}
        />
      </label>
      {note !== "" && (
        <p id={noteId} dir="auto" {...(error ? { class: "bq-error", role: "alert" } : { class: "bq-hint" })}>
          {note}
        </p>
      )}
    </footer>
  );
}
