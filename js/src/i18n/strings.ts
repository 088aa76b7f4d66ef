/** Which language the window speaks: the catalogue of words and the locale of its dates, chosen once, before it is drawn.
 *
 * Another language is one more file beside `words/en.ts` and one more line in `CATALOGUES`.
 */

import type { Trouble } from "../protocol/frames";
import { de } from "./de";
import { en, type Words } from "./en";

export const CATALOGUES: Readonly<Record<string, Words>> = { en, de };

/** The words of the chosen language; a binding that `speak` changes, so read it when drawing, not when loading. */
export let words: Words = en;
export let language = "en";
/** The locale of dates and numbers: the reader's own variety of the chosen language (en-GB, de-AT). */
export let locale = "en";

/** Choose the first of the wanted languages (`de`, `de-AT`, `de_DE`) that has a catalogue; English where none has. */
export function speak(wanted: readonly string[]): void {
  const tags = wanted.map((tag) => tag.replaceAll("_", "-")).filter(isLocale);
  const found = tags.map(languageOf).find((language) => Object.hasOwn(CATALOGUES, language)) ?? "en";
  language = found;
  words = CATALOGUES[found]!;
  // Of the same language, what says most: a page in "de" and a browser in "de-AT" is Austrian.
  locale = tags.filter((tag) => languageOf(tag) === found).sort((a, b) => b.length - a.length)[0] ?? found;
}

const languageOf = (tag: string): string => tag.split("-")[0]!.toLowerCase();

/** Why something was refused, in the reader's language where the code is known, else as the server put it. */
export function reasonOf({ code, message }: Trouble): string {
  return Object.hasOwn(words.refusals, code) ? words.refusals[code]! : message;
}

/** A page may say anything; Intl throws at what is no language tag. */
function isLocale(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length === 1;
  } catch {
    return false;
  }
}
