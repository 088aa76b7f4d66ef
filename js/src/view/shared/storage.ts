/** What the browser remembers: a name across visits, a draft across reloads. Storage may be full or forbidden. */

import { asPart } from "../../protocol/guards";
import type { Part } from "../../protocol/frames";

const NAME = "bqwidget:name";

const quietly = <T>(action: () => T, otherwise: T): T => {
  try {
    return action();
  } catch {
    return otherwise;
  }
};

/** The name this reader chose here, unless the notebook has since asked for another one. */
export function rememberedName(given: string): string {
  const stored = quietly(() => localStorage.getItem(`${NAME}:${given}`), null);
  return stored ?? given;
}

export function rememberName(given: string, name: string): void {
  quietly(() => {
    if (name === "" || name === given) localStorage.removeItem(`${NAME}:${given}`);
    else localStorage.setItem(`${NAME}:${given}`, name);
  }, undefined);
}

const partsKey = (room: string): string => `bqwidget:parts:${room}`;

/** What was attached to the draft: it is on the server already. */
export function rememberedParts(room: string): Part[] {
  const stored = quietly(() => JSON.parse(sessionStorage.getItem(partsKey(room)) ?? "[]") as unknown, []);
  return Array.isArray(stored) ? stored.map(asPart).filter((part) => part !== null) : [];
}

export function rememberParts(room: string, parts: readonly Part[]): void {
  quietly(() => {
    if (parts.length === 0) sessionStorage.removeItem(partsKey(room));
    else sessionStorage.setItem(partsKey(room), JSON.stringify(parts));
  }, undefined);
}

const draftKey = (room: string): string => `bqwidget:draft:${room}`;

export function rememberedDraft(room: string): string {
  return quietly(() => sessionStorage.getItem(draftKey(room)), null) ?? "";
}

export function rememberDraft(room: string, text: string): void {
  quietly(() => {
    if (text === "") sessionStorage.removeItem(draftKey(room));
    else sessionStorage.setItem(draftKey(room), text);
  }, undefined);
}
