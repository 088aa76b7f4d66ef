/** Ctrl+F, or Cmd+F, opens the search; in the search it is the browser's own. */

import { useEffect } from "preact/hooks";

const isSearchKey = ({ key, ctrlKey, metaKey, altKey, shiftKey }: KeyboardEvent): boolean =>
  ctrlKey !== metaKey && !altKey && !shiftKey && key.toLowerCase() === "f";

/** `everywhere`: the window is the whole page, so that the key may be pressed outside of it. */
export function useSearchKey(region: { readonly current: HTMLElement | null }, everywhere: boolean, open: () => void): void {
  useEffect(() => {
    const element = region.current;
    const unmounted = new AbortController();
    const onKey = (event: KeyboardEvent): void => {
      const inSearch = event.target instanceof Element && event.target.closest("[role=search]") !== null;
      if (!isSearchKey(event) || inSearch) return;
      event.preventDefault();
      open();
    };
    element?.addEventListener("keydown", onKey, { signal: unmounted.signal });
    const onPageKey = (event: KeyboardEvent): void => {
      if (event.target === document.body) onKey(event);
    };
    if (everywhere) document.addEventListener("keydown", onPageKey, { signal: unmounted.signal });
    return () => unmounted.abort();
  }, [region, everywhere]);
}
