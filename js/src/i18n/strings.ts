/** The language of the window: its catalogue of strings and its locale, chosen once, before the first rendering.
 *
 * To add a language, write a file like `de.ts` and add it to `CATALOGUES`.
 */

import type { ErrorInfo } from "../protocol/server-frames";
import { de } from "./de";
import { en, type Strings } from "./en";

export const CATALOGUES: Readonly<Record<string, Strings>> = { en, de };

/** The strings of the chosen language. `setLanguage` changes the binding: read it when rendering, not on import. */
export let strings: Strings = en;
/** The locale of dates and numbers: the reader's variety of the chosen language (en-GB, de-AT). */
export let locale = "en";

/** Chooses the first of `preferred` (`de`, `de-AT`, `de_DE`) that has a catalogue, otherwise English; returns its tag. */
export function setLanguage(preferred: readonly string[]): string {
  const tags = preferred.map((tag) => tag.replaceAll("_", "-")).filter(isLocale);
  const found = tags.map(languageOf).find((tag) => Object.hasOwn(CATALOGUES, tag)) ?? "en";
  strings = CATALOGUES[found]!;
  // The longest tag of that language: a page in "de" and a browser in "de-AT" give "de-AT".
  locale = tags.filter((tag) => languageOf(tag) === found).sort((a, b) => b.length - a.length)[0] ?? found;
  return found;
}

const languageOf = (tag: string): string => tag.split("-")[0]!.toLowerCase();

/** The reason for an error, in the reader's language if its code is in the catalogue, otherwise in the server's words. */
export function errorText({ code, message }: ErrorInfo): string {
  return Object.hasOwn(strings.errors, code) ? strings.errors[code]! : message;
}

/** Pages may contain any string; Intl throws on invalid language tags. */
function isLocale(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length === 1;
  } catch {
    return false;
  }
}
