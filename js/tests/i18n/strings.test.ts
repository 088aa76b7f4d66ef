/** The catalogues: every language has all strings, none of them left in English, and readers get their language. */

import { afterEach, describe, expect, it } from "vitest";
import { en, type Strings } from "../../src/i18n/en";
import { formatDateTime, formatDay } from "../../src/i18n/format";
import { CATALOGUES, errorText, locale, setLanguage, strings } from "../../src/i18n/strings";

/** Strings without words, which are the same in every language. */
const SAME: Readonly<Record<string, readonly string[]>> = { de: ["reactionLabel", "activity"] };
/** Arguments for the functions of a catalogue, with names that are not words; all others get 2. */
const SAMPLES: Readonly<Record<string, readonly unknown[]>> = {
  tooLong: [1_234, 16_000],
  reactionLabel: ["👍", ["Xq", "Yq"]],
  typing: [["Xq", "Yq"]],
  answeredBy: ["Xq", "Yq"],
  announce: [2, "Xq", "Yq"],
};

type Format = (...samples: readonly unknown[]) => string;

function texts(catalogue: Strings): Map<string, string> {
  return new Map(
    Object.entries(catalogue)
      .filter(([key]) => key !== "errors")
      .map(([key, value]) => {
        if (typeof value === "function") return [key, (value as Format)(...(SAMPLES[key] ?? [2]))];
        return [key, typeof value === "string" ? value : Object.values(value).join("…")];
      }),
  );
}

afterEach(() => void setLanguage(["en"]));

describe.each(Object.entries(CATALOGUES))("the catalogue %s", (name, catalogue) => {
  it("has all strings, and none is empty", () => {
    expect(Object.keys(catalogue).sort()).toEqual(Object.keys(en).sort());
    for (const [key, text] of texts(catalogue)) expect(text.trim(), key).not.toBe("");
  });

  it("has no English strings left", () => {
    const english = texts(en);
    const same = [...texts(catalogue)].filter(([key, text]) => english.get(key) === text).map(([key]) => key);
    expect(same).toEqual(catalogue === en ? [...english.keys()] : SAME[name]);
  });
});

it("the accessible names in English are those of DESIGN", () => {
  const { region, messages, message, yourName, send, jumpToLatest, retry } = en;
  expect([region("lobby"), messages, message, yourName, send, jumpToLatest, retry]).toEqual([
    ...["Chat room lobby", "Messages", "Message", "Your name", "Send", "Jump to latest", "Retry"],
  ]);
});

describe("the language", () => {
  it.each<[string[], string, string, string?]>([
    [["de"], "de", "de"],
    [["de", "de-AT", "en"], "de", "de-AT"],
    [["de_DE"], "de", "de-DE"],
    [["en", "de-DE"], "en", "en"],
    [["xx", "", "not a tag", "DE-ch"], "de", "DE-ch"],
    [["constructor", "fr-FR"], "en", "fr-FR"],
    [["fr-FR", "de"], "de", "fr-FR"],
    [["ja"], "en", "ja"],
    [[], "en", "en"],
    [["fr-FR", "en"], "en", "fr-FR", "en"],
    [["de-AT"], "de", "de-AT", "de"],
    [["en-US"], "de", "de", "de"],
    [["de-AT"], "en", "de-AT", "en"],
  ])("for %j is %s, with the locale %s, in a page in %j", (preferred, language, expectedLocale, page = "") => {
    expect([setLanguage(preferred, page), locale]).toEqual([language, expectedLocale]);
    expect(strings).toBe(CATALOGUES[language]);
  });

  it("applies to dates", () => {
    const at = Date.UTC(2026, 2, 3, 12);
    setLanguage(["de"]);
    expect(formatDay(at, at)).toBe("Heute");
    expect(formatDateTime(at)).toContain("März");
    setLanguage(["en-GB"]);
    expect(formatDateTime(at)).toContain("3 March 2026");
    setLanguage(["fr-FR"], "en");
    expect(formatDateTime(at)).toContain("3 mars 2026");
    setLanguage(["ja-JP"]);
    expect(formatDateTime(at)).toContain("2026年3月3日");
  });

  it("applies to errors with a known code; others keep the server's message", () => {
    const muted = { code: "muted", message: "a moderator has muted eve" };
    expect(errorText(muted)).toBe(muted.message);
    setLanguage(["de"]);
    expect(errorText(muted)).toBe("Du darfst hier gerade nicht schreiben");
    expect(errorText({ code: "constructor", message: "what?" })).toBe("what?");
  });
});
