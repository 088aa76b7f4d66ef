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
/** The locale of dates and numbers: the reader's own, also where the strings are in another language (en-GB, fr-FR). */
export let locale = "en";

/** Chooses the first of `preferred` (`de`, `de-AT`, `de_DE`) that has a catalogue, otherwise English; returns its tag.
 *
 * `page`: the language of the page around the window, which comes first. English is what pages have that are not
 * translated, so it does not decide about dates.
 */
export function setLanguage(preferred: readonly string[], page = ""): string {
  const readers = normalized(preferred);
  const tags = [...normalized([page]), ...readers];
  const found = tags.map(languageOf).find((tag) => Object.hasOwn(CATALOGUES, tag)) ?? "en";
  strings = CATALOGUES[found]!;
  const own = languageOf((languageOf(page) === "en" ? readers : tags)[0] ?? found);
  // The longest tag of that language: a page in "de" and a browser in "de-AT" give "de-AT".
  locale = tags.filter((tag) => languageOf(tag) === own).sort((a, b) => b.length - a.length)[0] ?? found;
  return found;
}

const normalized = (tags: readonly string[]): string[] => tags.map((tag) => tag.replaceAll("_", "-")).filter(isLocale);

const languageOf = (tag: string): string => tag.split("-")[0]!.toLowerCase();

/** The reason for an error, in the reader's language if its code is in the catalogue, otherwise in the server's words. */
export function errorText({ code, message }: ErrorInfo): string {
  return Object.hasOwn(strings.errors, code) ? strings.errors[code]! : message;
}

/** Pages may contain any string; Intl throws on invalid language tags, and knows no dates of unknown languages. */
function isLocale(tag: string): boolean {
  try {
    return Intl.DateTimeFormat.supportedLocalesOf(tag).length === 1;
  } catch {
    return false;
  }
}
