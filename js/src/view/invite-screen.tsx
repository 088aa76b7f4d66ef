/** What a visitor without a session sees: an invite is being redeemed, or a box for one, and how to get it. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { strings } from "../i18n/strings";

interface Props {
  /** The room of the page; empty on the page of all rooms. */
  readonly room: string;
  readonly code: string | null;
  /** Given a code or a whole link. Returns null on success (another page is then loaded), otherwise the reason. */
  readonly redeem: (invite: string) => Promise<string | null>;
}

const LINK = /(?:\/rooms\/([\w-]{1,64}))?#invite=([^&\s]+)/;

/** The code in an invite link, and the link's room; a text that is no link is the code itself. */
export function parseInvite(given: string): { readonly code: string; readonly room: string | null } {
  const [, room = null, code = given.trim()] = LINK.exec(given) ?? [];
  return { code, room };
}

export function InviteScreen({ room, code, redeem }: Props): JSX.Element {
  const [busy, setBusy] = useState(code !== null);
  const [error, setError] = useState<string | null>(null);
  const submit = (invite: string): void => {
    setBusy(true);
    const done = (reason: string | null): void => {
      setError(reason);
      setBusy(reason === null);
    };
    redeem(invite).then(done, () => done(strings.unreachable));
  };
  useEffect(() => {
    if (code !== null) submit(code);
  }, [code]);
  return (
    <section class="bq-invite" aria-label={room || strings.rooms}>
      <h1 dir="auto">{room ? `#${room}` : strings.rooms}</h1>
      {busy ? (
        <p role="status">{strings.roomOpening}</p>
      ) : (
        <>
          {error !== null && (
            <p role="alert" id="bq-invite-error">
              {error}
            </p>
          )}
          <p>
            {strings.inviteRequired[0]}
            <code>room.invite()</code>
            {strings.inviteRequired[1]}
          </p>
          <InviteForm invalid={error !== null} onSubmit={submit} />
        </>
      )}
    </section>
  );
}

function InviteForm({ invalid, onSubmit }: { invalid: boolean; onSubmit: (invite: string) => void }): JSX.Element {
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        const invite = new FormData(event.currentTarget).get("invite");
        if (typeof invite === "string" && invite.trim() !== "") onSubmit(invite);
      }}
    >
      <input
        name="invite"
        autocomplete="off"
        spellcheck={false}
        aria-label={strings.inviteLabel}
        placeholder={strings.inviteLabel}
        aria-invalid={invalid}
        {...(invalid && { "aria-describedby": "bq-invite-error" })}
      />
      <button type="submit">{strings.comeIn}</button>
    </form>
  );
}
