// @vitest-environment happy-dom
/** The window around the messages and the composer. */

import { act } from "preact/test-utils";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  button,
  click,
  close,
  find,
  open,
  press,
  receive,
  receiveMessage,
  root,
  rows,
  setCommStatus,
  source,
  statusFrame,
  statusText,
  type,
  useChatWindow,
} from "../support/chat-window";

useChatWindow();

describe("accessible names", () => {
  it("are those of DESIGN", async () => {
    await receiveMessage("ada", "hello");
    expect(find("section").getAttribute("aria-label")).toBe("Chat room lobby");
    expect(rows().map(({ dataset }) => dataset.seq)).toEqual(["1"]);
    expect(find<HTMLInputElement>("input[aria-label='Your name']").value).toBe("me");
    expect(button("Send").type).toBe("submit");
    expect(statusText()).toBe("Connected");
    expect(find("section").dataset.lmSuppressShortcuts).toBe("true");
    expect(root.querySelectorAll("[role=status]")).toHaveLength(1);
  });
});

describe("the status line", () => {
  it("shows a busy kernel, offline with a countdown, closed with the reason", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    await setCommStatus("busy");
    expect(statusText()).toBe("Kernel busy");
    await type("waits");
    await press("Enter");
    expect(statusText()).toBe("Kernel busy, queued · 1 message waiting");
    await receiveMessage("me", "waits", { cid: source.drafts()[0]!.cid });
    await setCommStatus("ok");
    await receive({ type: "status", status: "reconnecting", error: null, retry_at: Date.now() + 4_000, queued: 0 });
    expect(statusText()).toBe("Offline · retrying in 4 s");
    expect(find("[role=status] [aria-hidden=true]:last-child").textContent).toContain("4 s");
    await receive(statusFrame("closed", "You do not have access to this room"));
    expect(statusText()).toBe("You do not have access to this room");
    expect(find("[role=status]").classList.contains("bq-bad")).toBe(true);
  });

  it("does not take for a fault that the notebook has left", async () => {
    await receive(statusFrame("closed"));
    expect(statusText()).toBe("You left: run the cell again to come back");
    expect(find("[role=status]").classList.contains("bq-bad")).toBe(false);
  });
});

describe("a default name", () => {
  const hint = (): string => {
    const id = find("input[aria-label='Your name']").getAttribute("aria-describedby");
    return id === null ? "" : (document.getElementById(id)?.textContent ?? "");
  };

  it("is to be replaced by the reader's own", async () => {
    expect(hint()).toBe("");
    close();
    await open("jovyan");
    expect(hint()).toBe("Others may be called “jovyan” too: enter your own name");
    await type("ada", find<HTMLInputElement>("input[aria-label='Your name']"));
    expect(hint()).toBe("");
    await type("root", find<HTMLInputElement>("input[aria-label='Your name']"));
    await receive({ ...source.log.hello(true), user: "root" }); // verified: it cannot be changed
    expect(hint()).toBe("");
  });
});

describe("the list of members", () => {
  it("shows names, and the state of kernels", async () => {
    await receive({
      type: "presence",
      members: [{ user: "ada", typing: true }, { user: "trainer", kind: "kernel", busy: true }, { user: "k2", kind: "kernel" }],
    });
    const count = find<HTMLButtonElement>(".bq-members button");
    expect(count.textContent).toBe("3 herekernel busy");
    await act(() => count.click());
    const names = (): string[] => [...root.querySelectorAll(".bq-people li")].map((each) => each.textContent);
    expect(names()).toEqual(["Aadatyping…", "Ttrainerbusy", "Kk2idle"]);
    await press("Escape", {}, find(".bq-people"));
    expect(names()).toEqual([]);
    expect(document.activeElement).toBe(count);
  });
});

describe("a closed room", () => {
  it("shows no members", async () => {
    await receive({ type: "presence", members: [{ user: "ada" }] });
    expect(find(".bq-header").textContent).toContain("1 here");
    await receive(statusFrame("closed"));
    expect(find(".bq-header").textContent).not.toContain("here");
  });
});

describe("the typing line", () => {
  it("shows others, and not the reader under their verified name", async () => {
    await receive({ ...source.log.hello(true), user: "bob" });
    await receive({ type: "presence", members: [{ user: "ada", typing: true }, { user: "bob", typing: true }] });
    expect(find(".bq-typing").textContent).toBe("ada is typing…");
  });

  it("shows another one of the same unverified name", async () => {
    await receive({ ...source.log.hello(true), member: "1" });
    const members = [{ user: "me", id: "1" }, { user: "me", id: "2" }];
    await receive({ type: "presence", members: members.map((each) => ({ ...each, typing: each.id === "1" })) });
    expect(find(".bq-typing").textContent).toBe("");
    await receive({ type: "presence", members: members.map((each) => ({ ...each, typing: each.id === "2" })) });
    expect(find(".bq-typing").textContent).toBe("me is typing…");
    await click("2 here");
    expect([...root.querySelectorAll(".bq-people li")].map((each) => each.textContent)).toEqual(["Mmeyou", "Mmetyping…"]);
  });
});

describe("the link to the room", () => {
  it("is copied, or shown where copying is not allowed", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    close();
    await open("me", "h1");
    await navigator.clipboard.writeText("");
    await click("Share");
    await click("Copy link");
    expect(await navigator.clipboard.readText()).toBe("http://chat.test/rooms/lobby");
    expect(button("Copied")).toBeDefined();
    const refusing = vi.spyOn(navigator.clipboard, "writeText").mockRejectedValue(new Error("not allowed"));
    await click("Copied");
    refusing.mockRestore();
    expect(find<HTMLInputElement>(".bq-url").value).toBe("http://chat.test/rooms/lobby");
  });

  it("is one of two in a notebook: the other one lets people in", async () => {
    await receive({ ...source.log.hello(true), share: "invite" });
    await click("Share");
    await type("12", find<HTMLInputElement>(".bq-share input[type=number]"));
    await click("Copy link");
    expect(await navigator.clipboard.readText()).toBe("http://chat.test/rooms/lobby");
    await click("Copy invite link");
    expect(await navigator.clipboard.readText()).toBe("http://chat.test/rooms/lobby#invite=12-60");
    await press("Escape", {}, button("Share"));
    expect(() => button("Copy invite link")).toThrow();
    expect(document.activeElement).toBe(button("Share"));
  });

  it.each([
    ["login", "For everyone who may log in here."],
    ["", "For everyone who can reach this server."],
    ["session", "ask the person who invited you"],
  ])("says who can use it: %j", async (share, hint) => {
    await receive({ ...source.log.hello(true), share });
    await click("Share");
    expect(find(".bq-share p").textContent).toContain(hint);
    expect(() => button("Copy invite link")).toThrow();
  });

  it.each(["user/ada%20b/", "team/user/ada%20b/gpu/"])("says who may use a server on a JupyterHub: %s", async (prefix) => {
    source.fetchLink = () => Promise.resolve(`https://hub.test/${prefix}bqserver/rooms/lobby`);
    await receive({ ...source.log.hello(true), share: "login" });
    await click("Share");
    await vi.waitFor(() => expect(find(".bq-share p").textContent).toContain("For people who may use ada b’s server."));
  });
});
