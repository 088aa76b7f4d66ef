/** The results of the words that are typed: asked for when typing pauses, and never those of earlier words. */

import { useEffect, useState } from "preact/hooks";
import { errorText, strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { RequestError } from "../../protocol/errors";
import type { Room } from "../../room/room";

const PAUSE_MS = 150;

export interface Search {
  /** The words that `hits` contain; they may be older than those in the box. */
  readonly query: string;
  /** Newest first; null before the first search. */
  readonly hits: readonly Message[] | null;
  readonly error: string;
}

const NOTHING: Search = { query: "", hits: null, error: "" };

/** `busy` until the results of `words` are there. */
export function useSearch(room: Room, words: string): Search & { readonly busy: boolean } {
  const [search, setSearch] = useState(NOTHING);
  const query = words.trim();
  useEffect(() => {
    const replaced = new AbortController();
    if (query === "") setSearch(NOTHING);
    else {
      const timer = setTimeout(() => {
        room.search(query, replaced.signal).then(
          (hits) => !replaced.signal.aborted && setSearch({ query, hits, error: "" }),
          (error: unknown) => !replaced.signal.aborted && setSearch({ query, hits: null, error: reasonOf(error) }),
        );
      }, PAUSE_MS);
      replaced.signal.addEventListener("abort", () => clearTimeout(timer));
    }
    return () => replaced.abort();
  }, [room, query]);
  return { ...search, busy: search.query !== query };
}

function reasonOf(error: unknown): string {
  if (error instanceof RequestError) return errorText(error.info);
  return strings.searchFailed;
}
