/** What another view of this room has sent: the draft, which the views share, is done in this one too. */

import { useLayoutEffect, useRef } from "preact/hooks";
import type { State } from "../../model/state";
import type { Draft } from "../../protocol/client-frames";

type SendDraft = Extract<Draft, { readonly type: "chat.send" }>;

/** Calls `onSent` for each new message that is being sent. A view that sent it itself has an empty box by then. */
export function useSentElsewhere({ pending }: State, onSent: (draft: SendDraft) => void): void {
  const known = useRef(pending);
  useLayoutEffect(() => {
    const added = pending.filter(({ cid }) => !known.current.some((each) => each.cid === cid));
    known.current = pending;
    for (const { draft } of added) if (draft.type === "chat.send") onSent(draft);
  }, [pending]);
}
