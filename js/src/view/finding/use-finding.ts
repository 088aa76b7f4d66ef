/** How the reader of one window gets to a message: the search, links to messages, and the page's address. */

import type { RefObject } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import type { PagePosition, State, View } from "../../model/state";
import type { Room } from "../../room/room";
import { seqOfClick, useAddress } from "./permalink";
import { useSearchKey } from "./use-search-key";

interface Finding {
  /** This window, among those of the room. */
  readonly view: View;
  readonly go: (to: PagePosition) => void;
  readonly searching: boolean;
  readonly setSearching: (open: boolean) => void;
  readonly searchButton: RefObject<HTMLButtonElement | null>;
  /** Follows a link to a message of this room in this window. */
  readonly onLink: (event: MouseEvent) => void;
}

/** `isPage`: the window is the whole page, whose address is the room's. */
export function useFinding(room: Room, state: State, region: RefObject<HTMLElement | null>, isPage: boolean): Finding {
  const view = useMemo<View>(() => ({}), [room]);
  const searchButton = useRef<HTMLButtonElement>(null);
  const [searching, setOpen] = useState(false);
  const go = (to: PagePosition): void => {
    setOpen(false);
    room.jump(view, to);
  };
  const setSearching = (open: boolean): void => {
    setOpen(open);
    if (!open) searchButton.current?.focus();
  };
  useAddress(isPage, state.loaded, (seq) => go({ around: seq }));
  useSearchKey(region, isPage, () => setSearching(true));
  const onLink = (event: MouseEvent): void => {
    const seq = isPage ? seqOfClick(event, location.href.split("#")[0]!) : null;
    if (seq === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ around: seq });
  };
  return { view, go, searching, setSearching, searchButton, onLink };
}
