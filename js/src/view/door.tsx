/** What somebody without a session sees: in they go with an invite, or how to get one. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

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
    enter(code).then(setTrouble, () => setTrouble("The server can't be reached just now: open the link again."));
  }, [code]);
  const waiting = code !== null && trouble === null;
  return (
    <section class="bq-door" aria-label={room}>
      <h1 dir="auto">#{room}</h1>
      {waiting ? (
        <p role="status">Opening the room…</p>
      ) : (
        <>
          {trouble !== null && <p role="alert">{trouble}</p>}
          <p>
            You need an invite link to come in. Ask somebody who is in the room for one: in a notebook,{" "}
            <code>room.invite()</code> makes it.
          </p>
        </>
      )}
    </section>
  );
}
