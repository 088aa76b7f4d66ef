/** Puts a message that failed back into the empty composer, and removes it again once a retry succeeds. */

import { useLayoutEffect, useRef } from "preact/hooks";
import type { State } from "../../model/state";

export interface RestoredDraft {
  readonly cid: string;
  readonly text: string;
}

/** `enabled`: the composer is writing a new message. */
export function useRestoredDraft(
  state: State,
  text: string,
  enabled: boolean,
  setText: (text: string) => void,
): { readonly current: RestoredDraft | null } {
  const restored = useRef<RestoredDraft | null>(null);
  const failedCids = useRef(new Set<string>());
  // A layout effect, so that no key can be pressed between the rendering and the change of the text.
  useLayoutEffect(() => {
    const failed = state.pending.filter(({ state, draft }) => state === "failed" && draft.type === "chat.send");
    const draft = failed.find(({ cid }) => !failedCids.current.has(cid))?.draft;
    failedCids.current = new Set(failed.map(({ cid }) => cid));
    if (restored.current !== null && !state.pending.some(({ cid }) => cid === restored.current?.cid)) {
      if (text === restored.current.text) setText("");
      restored.current = null;
    }
    const restorable = draft?.type === "chat.send" && draft.choice === undefined && draft.text !== "";
    if (restorable && text === "" && enabled) {
      restored.current = { cid: draft.cid, text: draft.text };
      setText(draft.text);
    }
  }, [state.pending]);
  return restored;
}
