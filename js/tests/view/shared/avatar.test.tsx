// @vitest-environment happy-dom
/** Avatars from profiles, which are untrusted. */

import { describe, expect, it } from "vitest";
import type { Profile } from "../../../src/protocol/server-frames";
import { Avatar } from "../../../src/view/shared/avatar";
import { avatarColors } from "../../../src/view/shared/color";
import { draw } from "../../support/draw";

const PICTURE = "data:image/png;base64,iVBORw0KGgo=";
const avatar = (profile?: Profile): HTMLElement =>
  draw(<Avatar user="ada lovelace" program={false} profile={profile} />).firstElementChild as HTMLElement;

describe("an avatar", () => {
  it("has the initials and the colour of the profile, and a readable text colour", () => {
    const drawn = avatar({ initials: "X☃️Yz", color: "#ffcc00" });
    expect(drawn.textContent).toBe("X☃️Y");
    expect([drawn.style.background, drawn.style.color]).toEqual(["#ffcc00", "#000"]);
  });

  it("has initials and colour from the name without a profile", () => {
    const drawn = avatar();
    expect(drawn.textContent).toBe("AL");
    expect(drawn.getAttribute("style")).toBeNull();
  });

  it("shows a picture from a data URL, and makes no request for others", () => {
    const drawn = avatar({ avatar: PICTURE });
    expect(drawn.style.backgroundImage).toBe(`url("${PICTURE}")`);
    expect(drawn.textContent).toBe("");
    for (const avatar_ of [
      "https://evil.example/a.png",
      "/logout",
      "data:image/svg+xml;base64,PHN2Zy8+",
      `${PICTURE}"), url("https://evil.example`,
    ]) {
      const plain = avatar({ avatar: avatar_ });
      expect([plain.getAttribute("style"), plain.textContent]).toEqual([null, "AL"]);
    }
  });
});

describe("a colour", () => {
  it.each(["url(https://evil.example/x)", "#12345", "red; background: url(x)", "var(--x)", "var(--jp-collaborator-color1, url(x))", ""])(
    "%j is rejected",
    (color) => {
      expect(avatarColors(color)).toBeNull();
    },
  );

  it("of JupyterLab is taken from the theme, or from its light theme elsewhere", () => {
    expect(avatarColors("var(--jp-collaborator-color1)")).toEqual({ background: "#ad4a00", color: "#fff" });
    document.body.style.setProperty("--jp-collaborator-color1", "#FAD");
    expect(avatarColors("var(--jp-collaborator-color1)")).toEqual({ background: "#ffaadd", color: "#000" });
    document.body.style.setProperty("--jp-collaborator-color1", "url(https://evil.example)");
    expect(avatarColors("var(--jp-collaborator-color1)")).toBeNull();
    document.body.style.removeProperty("--jp-collaborator-color1");
  });

  it("always has a text colour of AA contrast", () => {
    const channel = (hex: string): number => {
      const value = parseInt(hex, 16) / 255;
      return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    };
    for (let step = 0; step < 4096; step += 7) {
      const [r, g, b] = [step >> 8, (step >> 4) & 15, step & 15].map((digit) => digit.toString(16).repeat(2));
      const light = 0.2126 * channel(r!) + 0.7152 * channel(g!) + 0.0722 * channel(b!);
      const textColor = avatarColors(`#${r!}${g!}${b!}`)!.color === "#fff" ? 1 : 0;
      const contrast = (Math.max(light, textColor) + 0.05) / (Math.min(light, textColor) + 0.05);
      expect(contrast, `#${r!}${g!}${b!}`).toBeGreaterThanOrEqual(4.5);
    }
  });
});
