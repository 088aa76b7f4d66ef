// @vitest-environment happy-dom
/** The list of members. */

import { act } from "preact/test-utils";
import { describe, expect, it } from "vitest";
import type { Member } from "../../src/protocol/server-frames";
import { Members } from "../../src/view/members";
import { draw } from "../support/draw";

describe("members", () => {
  it("says which of them are agents", async () => {
    const drawn = draw(<Members members={[{ user: "ada" }, { user: "helper", kind: "agent" }, { user: "run", kind: "kernel" }]} isReader={() => false} />);
    expect(drawn.querySelector("button")!.textContent).toBe("3 here1 agent");
    await act(() => drawn.querySelector("button")!.click());
    expect([...drawn.querySelectorAll("li")].map(({ textContent }) => textContent)).toEqual(["Aada", "Hhelperagent", "Rrunidle"]);
  });

  it("are marked like their messages, with their display names", async () => {
    const members: Member[] = [
      { user: "ada", verified: true, profile: { name: "Ada Lovelace", initials: "AL" } },
      { user: "eve", profile: { name: "The Boss", initials: "TB" } },
    ];
    const drawn = draw(<Members members={members} isReader={() => false} />);
    await act(() => drawn.querySelector("button")!.click());
    const [ada, eve] = [...drawn.querySelectorAll("li")];
    expect(ada!.textContent).toBe("ALadaverified by the serverAda Lovelace");
    expect(eve!.textContent).toBe("Eevenot verified");
    expect(eve!.querySelector("[title]")!.getAttribute("title")).toContain("not verified by the server");
  });
});
