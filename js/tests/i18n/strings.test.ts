/** The catalogues: none lacks a word, none keeps an English one by accident, and a reader's language finds its own. */

import { afterEach, describe, expect, it } from "vitest";
import { dayOf, fullTime } from "../../src/i18n/format";
import { CATALOGUES, language, locale, reasonOf, speak, words } from "../../src/i18n/strings";
import { en, type Words } from "../../src/i18n/en";

/** What is the same in other languages too: signs, names and numbers. */
const SAME: Readonly<Record<string, readonly string[]>> = { de: ["reacted"] };
/** For every function of a catalogue: numbers for one and for many, names that are no word of any language. */
const SAMPLES: Readonly<Record<string, readonly unknown[]>> = {
  tooLong: [1_234, 16_000],
  reacted: ["👍", ["Xq", "Yq"]],
  typing: [["Xq", "Yq"]],
  answeredBy: ["Xq", "Yq"],
  announce: [2, "Xq", "Yq"],
};

type Said = (...samples: readonly unknown[]) => string;

function sentences(catalogue: Words): Map<string, string> {
  return new Map(
    Object.entries(catalogue)
      .filter(([key]) => key !== "refusals")
      .map(([key, value]) => {
        if (typeof value === "function") return [key, (value as Said)(...(SAMPLES[key] ?? [2]))];
        return [key, [value].flat().map(String).join("…")];
      }),
  );
}

afterEach(() => speak(["en"]));

describe.each(Object.entries(CATALOGUES))("the catalogue %s", (name, catalogue) => {
  it("has every word, and says something", () => {
    expect(Object.keys(catalogue).sort()).toEqual(Object.keys(en).sort());
    for (const [key, said] of sentences(catalogue)) expect(said.trim(), key).not.toBe("");
  });

  it("keeps nothing English by accident", () => {
    const english = sentences(en);
    const kept = [...sentences(catalogue)].filter(([key, said]) => english.get(key) === said).map(([key]) => key);
    expect(kept).toEqual(catalogue === en ? [...english.keys()] : SAME[name]);
  });
});

it("the names that tests and screen readers use are these, in English", () => {
  const { region, messages, message, yourName, send, jump, retry } = en;
  expect([region("lobby"), messages, message, yourName, send, jump, retry]).toEqual([
    ...["Chat room lobby", "Messages", "Message", "Your name", "Send", "Jump to latest", "Retry"],
  ]);
});

describe("the language", () => {
  it.each([
    [["de"], "de", "de"],
    [["de", "de-AT", "en"], "de", "de-AT"],
    [["de_DE"], "de", "de-DE"],
    [["en", "de-DE"], "en", "en"],
    [["xx", "", "not a tag", "DE-ch"], "de", "DE-ch"],
    [["constructor", "fr-FR"], "en", "en"],
    [[], "en", "en"],
  ])("of %j is %s, its locale %s", (wanted, chosen, variety) => {
    speak(wanted);
    expect([language, locale]).toEqual([chosen, variety]);
    expect(words).toBe(CATALOGUES[chosen]);
  });

  it("is that of dates too", () => {
    const at = Date.UTC(2026, 2, 3, 12);
    speak(["de"]);
    expect(dayOf(at, at)).toBe("Heute");
    expect(fullTime(at)).toContain("März");
    speak(["en-GB"]);
    expect(fullTime(at)).toContain("3 March 2026");
  });

  it("is that of refusals whose code is known; others come in the server's words", () => {
    const muted = { code: "muted", message: "a moderator has muted eve" };
    expect(reasonOf(muted)).toBe(muted.message);
    speak(["de"]);
    expect(reasonOf(muted)).toBe("Du darfst hier gerade nicht schreiben");
    expect(reasonOf({ code: "constructor", message: "what?" })).toBe("what?");
  });
});
