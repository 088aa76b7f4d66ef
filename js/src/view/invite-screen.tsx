/** What somebody without a session sees: in they go with an invite, or how to get one. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { words } from "../i18n/strings";

interface Props {
  readonly room: string;
  readonly code: string | null;
  /** Null when it worked (and the page reloads), else why not. */
  readonly enter: (code: string) => Promise<string | null>;
}

export function Door({ room, code, enter }: Props): JSX.Element {
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => {
    if (code === null) return;
    enter(code).then(setTrouble, () => setTrouble(words.unreachable));
  }, [code]);
  const waiting = code !== null && trouble === null;
  return (
    <section class="bq-door" aria-label={room}>
      <h1 dir="auto">#{room}</h1>
      {waiting ? (
        <p role="status">{words.opening}</p>
      ) : (
        <>
          {trouble !== null && <p role="alert">{trouble}</p>}
          <p>
            {words.inviteWanted[0]}
            <code>room.invite()</code>
            {words.inviteWanted[1]}
          </p>
        </>
      )}
    </section>
  );
}
