/** Text in which the names of members are marked where it mentions them, for every reader. */

import { createContext, type JSX } from "preact";
import { useContext, useRef } from "preact/hooks";
import { isOwnName, type State } from "../../model/state";
import { mentionableNames, splitMentions } from "./mentions";

interface Names {
  readonly all: readonly string[];
  readonly own: readonly string[];
}

const NO_NAMES: Names = { all: [], own: [] };
export const NamesContext = createContext(NO_NAMES);

/** All names seen in this room, also of members who have left; the same object until there is a new one. */
export function useNames(state: State): Names {
  const names = useRef(NO_NAMES);
  const own = [state.principal ?? state.user].filter(Boolean);
  const known = new Set(names.current.all);
  const added = [...mentionableNames(state), ...own].filter((name) => !known.has(name));
  const renamed = own.some((name) => !names.current.own.includes(name));
  if (added.length > 0 || renamed) {
    const all = [...new Set([...known, ...added])].sort((a, b) => b.length - a.length);
    names.current = { all, own: all.filter((name) => isOwnName(state, name)) };
  }
  return names.current;
}

export function MentionText({ text }: { readonly text: string }): JSX.Element {
  const { all, own } = useContext(NamesContext);
  return (
    <>
      {splitMentions(text, all).map((part, index) => {
        if (index % 2 === 0) return part;
        const isOwn = own.some((name) => name.toLocaleLowerCase() === part.slice(1).toLocaleLowerCase());
        return <span class={isOwn ? "bq-at bq-at-own" : "bq-at"}>{part}</span>;
      })}
    </>
  );
}
