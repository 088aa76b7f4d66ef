/** What a visitor without a session sees: the invite is being redeemed, or how to get one. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { strings } from "../i18n/strings";

interface Props {
  readonly room: string;
  readonly code: string | null;
  /** Returns null on success (the page then reloads), otherwise the reason. */
  readonly redeem: (code: string) => Promise<string | null>;
}

export function InviteScreen({ room, code, redeem }: Props): JSX.Element {
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    if (code === null) return;
    redeem(code).then(setError, () => setError(strings.unreachable));
  }, [code]);
  const redeeming = code !== null && error === null;
  return (
    <section class="bq-invite" aria-label={room}>
      <h1 dir="auto">#{room}</h1>
      {redeeming ? (
        <p role="status">{strings.roomOpening}</p>
      ) : (
        <>
          {error !== null && <p role="alert">{error}</p>}
          <p>
            {strings.inviteRequired[0]}
            <code>room.invite()</code>
            {strings.inviteRequired[1]}
          </p>
        </>
      )}
    </section>
  );
}
