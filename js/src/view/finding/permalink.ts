/** Addresses of messages: the page's address with `#m=SEQ`. */

import { useEffect } from "preact/hooks";

/** The message that `url` names; null if it names none. */
export function seqIn(url: { readonly hash: string }): number | null {
  const value = new URLSearchParams(url.hash.slice(1)).get("m") ?? "";
  const seq = /^\d{1,15}$/.test(value) ? Number(value) : 0;
  return seq > 0 ? seq : null;
}

/** The address of a message in the room whose page is at `url`. */
export const addressOf = (url: string, seq: number): string => `${url}#m=${seq}`;

/** Goes to the message that the page's address names: once the room is `loaded`, and when the address changes. */
export function useAddress(enabled: boolean, loaded: boolean, go: (seq: number) => void): void {
  useEffect(() => {
    if (!enabled || !loaded) return undefined;
    const follow = (): void => {
      const seq = seqIn(location);
      if (seq !== null) go(seq);
    };
    follow();
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, [enabled, loaded]);
}

/** The message that a click on a link in a message leads to, if that is in the room whose page is at `roomUrl`. */
export function seqOfClick({ target }: Event, roomUrl: string | null): number | null {
  const link = target instanceof Element ? target.closest("a") : null;
  if (link === null || roomUrl === null || link.href.split("#")[0] !== roomUrl) return null;
  return seqIn(link);
}
