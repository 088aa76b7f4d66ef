// @vitest-environment happy-dom
/** Names and looks: what the server vouches for is marked, and nothing else passes for it or reaches a style unseen. */

import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, describe, expect, it } from "vitest";
import type { Member, Message, Profile } from "../../../src/protocol/frames";
import { initial, type State } from "../../../src/model/state";
import { reduce } from "../../../src/model/reducer";
import { Avatar } from "../../../src/view/shared/avatar";
import { paintOf } from "../../../src/view/shared/color";
import { Members } from "../../../src/view/members";
import { rowsOf } from "../../../src/view/messages/rows";

const PICTURE = "data:image/png;base64,iVBORw0KGgo=";
let root: HTMLElement | null = null;

afterEach(() => {
  if (root === null) return;
  render(null, root);
  root.remove();
  root = null;
});

function draw(element: Parameters<typeof render>[0]): HTMLElement {
  const place = (root = document.body.appendChild(document.createElement("div")));
  void act(() => render(element, place));
  return place;
}
const avatar = (profile?: Profile): HTMLElement =>
  draw(<Avatar user="ada lovelace" kernel={false} profile={profile} />).firstElementChild as HTMLElement;

describe("an avatar", () => {
  it("has the initials and the colour that the server tells, and ink that reads on it", () => {
    const drawn = avatar({ initials: "X☃️Yz", color: "#ffcc00" });
    expect(drawn.textContent).toBe("X☃️Y");
    expect([drawn.style.background, drawn.style.color]).toEqual(["#ffcc00", "#000"]);
  });

  it("has the name's own where nothing is told", () => {
    const drawn = avatar();
    expect(drawn.textContent).toBe("AL");
    expect(drawn.getAttribute("style")).toBeNull();
  });

  it("has a picture that is its own address, and asks nobody for one", () => {
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
    "that is %j is none",
    (color) => {
      expect(paintOf(color)).toBeNull();
      },
  );

  it("of JupyterLab's is the theme's, and outside of it what the theme would say", () => {
    expect(paintOf("var(--jp-collaborator-color1)")).toEqual({ background: "#ad4a00", color: "#fff" });
    document.body.style.setProperty("--jp-collaborator-color1", "#FAD");
    expect(paintOf("var(--jp-collaborator-color1)")).toEqual({ background: "#ffaadd", color: "#000" });
    document.body.style.setProperty("--jp-collaborator-color1", "url(https://evil.example)");
    expect(paintOf("var(--jp-collaborator-color1)")).toBeNull();
    document.body.style.removeProperty("--jp-collaborator-color1");
  });

  it("always has ink of AA on it", () => {
    const part = (hex: string): number => {
      const value = parseInt(hex, 16) / 255;
      return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    };
    for (let step = 0; step < 4096; step += 7) {
      const [r, g, b] = [step >> 8, (step >> 4) & 15, step & 15].map((digit) => digit.toString(16).repeat(2));
      const light = 0.2126 * part(r!) + 0.7152 * part(g!) + 0.0722 * part(b!);
      const ink = paintOf(`#${r!}${g!}${b!}`)!.color === "#fff" ? 1 : 0;
      const contrast = (Math.max(light, ink) + 0.05) / (Math.min(light, ink) + 0.05);
      expect(contrast, `#${r!}${g!}${b!}`).toBeGreaterThanOrEqual(4.5);
    }
  });
});

const message = (seq: number, user: string, more: Partial<Message> = {}): Message => {
  return { seq, room: "lobby", user, text: "hi", at: 1_760_000_000_000 + seq, ...more };
};
const withAll = (messages: Message[], more: Partial<State> = {}): State => ({ ...initial("lobby", "me"), messages, ...more });
const rows = (state: State) => rowsOf(state, 0, state.messages.length, 1_760_000_100_000);

describe("a row", () => {
  it("says what its name stands on, and says so loudly only where both kinds are", () => {
    expect(rows(withAll([message(1, "eve")])).map(({ standing }) => standing)).toEqual(["unverified"]);
    const both = withAll([message(1, "ada", { verified: true }), message(2, "eve")]);
    expect(rows(both).map(({ standing }) => standing)).toEqual(["verified", "unverified among verified"]);
    const known = withAll([message(1, "eve")], { members: [{ user: "ada", verified: true }] });
    expect(rows(known)[0]!.standing).toBe("unverified among verified");
  });

  it("never stands under the name of somebody who only says the same", () => {
    const state = withAll([message(1, "ada", { verified: true }), message(2, "ada"), message(3, "ada", { verified: true })]);
    expect(rows(state).map(({ first }) => first)).toEqual([true, true, true]);
  });

  it("is ours only where the server vouches for it, if it vouches for us", () => {
    const said = [message(1, "me"), message(2, "me", { verified: true })];
    expect(rows(withAll(said)).map(({ own }) => own)).toEqual([true, true]);
    expect(rows(withAll(said, { principal: "me" })).map(({ own }) => own)).toEqual([false, true]);
  });

  it("looks as its author did when last seen, and nobody else gets these looks", () => {
    const profile = { initials: "AL", color: "#123" };
    const there: Member[] = [{ user: "ada", verified: true, profile }, { user: "eve", profile: { initials: "AL" } }];
    const start = withAll([message(1, "ada", { verified: true }), message(2, "ada"), message(3, "eve")]);
    const [seen] = reduce(start, [{ type: "presence", members: there }, { type: "presence", members: [] }]);
    expect(rows(seen).map((row) => row.profile)).toEqual([profile, null, null]);
    const [again] = reduce(seen, [{ type: "presence", members: [{ ...there[0]!, profile: { ...profile } }] }]);
    expect(again.profiles).toBe(seen.profiles); // the same looks draw nothing anew
  });
});

describe("the people here", () => {
  it("are marked like their messages, with the name to read beside", async () => {
    const members: Member[] = [
      { user: "ada", verified: true, profile: { name: "Ada Lovelace", initials: "AL" } },
      { user: "eve", profile: { name: "The Boss", initials: "TB" } },
    ];
    const drawn = draw(<Members members={members} />);
    await act(() => drawn.querySelector("button")!.click());
    const [ada, eve] = [...drawn.querySelectorAll("li")];
    expect(ada!.textContent).toBe("ALadaverified by the serverAda Lovelace");
    expect(eve!.textContent).toBe("Eevenot verified");
    expect(eve!.querySelector("[title]")!.getAttribute("title")).toContain("not verified it");
  });
});
