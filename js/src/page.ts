/** The window as a page: goes on from the messages already in the HTML, or opens the door with an invite. */

import { effect } from "@preact/signals";
import { h, render } from "preact";
import { asMessages, isObject } from "./protocol/guards";
import { Room } from "./room/room";
import { SocketSource } from "./transport/socket-source";
import { hydrated, initial, type State } from "./model/state";
import { Chat } from "./view/chat";
import { Door } from "./view/invite-screen";
import { rememberedName } from "./view/shared/storage";
import { language, reasonOf, speak, words } from "./i18n/strings";

const DOT = "%3Ccircle cx='25' cy='7' r='7' fill='%23d6303a' stroke='%23fff' stroke-width='2'/%3E";

function start(main: HTMLElement): void {
  // The server does not know who reads: what the HTML says of its language is that of its few words.
  speak(navigator.languages);
  document.documentElement.lang = language;
  const { room = "lobby", base: path = "/", session } = main.dataset;
  const base = new URL(path, location.href).href;
  if (session === "no") {
    const code = takeInvite();
    main.replaceChildren();
    render(h(Door, { room, code, enter: (invite) => enter(base, invite) }), main);
    return;
  }
  takeInvite();
  const embedded = readState();
  const principal = typeof embedded.user === "string" ? embedded.user : null;
  const live = new Room(new SocketSource({ base, room }), stateFrom(room, principal ?? rememberedName(""), embedded));
  main.replaceChildren();
  // Never `location.href`: what stands behind the path may be a code.
  const link = location.origin + location.pathname;
  render(h(Chat, { room: live, given: "", verified: principal !== null, heading: "h1", link }), main);
  live.start();
  tellUnread(live);
}

/** In the tab, where it is seen while the page is not: the number in its title, a dot on its icon. */
function tellUnread(live: Room): void {
  const { title } = document;
  const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
  const plain = icon?.href ?? "";
  effect(() => {
    const { count } = live.state.value.unread;
    document.title = count > 0 ? `(${count}) ${title}` : title;
    const href = count > 0 ? plain.replace("%3C/svg%3E", `${DOT}%3C/svg%3E`) : plain;
    if (icon !== null && icon.href !== href) icon.href = href;
  });
}

function readState(): Readonly<Record<string, unknown>> {
  try {
    const state: unknown = JSON.parse(document.getElementById("bqwidget-state")?.textContent ?? "");
    return isObject(state) ? state : {};
  } catch {
    return {};
  }
}

function stateFrom(room: string, user: string, embedded: Readonly<Record<string, unknown>>): State {
  const { messages, epoch, seq, oldest } = embedded;
  if (typeof epoch !== "string" || typeof seq !== "number" || typeof oldest !== "number") return initial(room, user);
  return hydrated(room, user, { messages: asMessages(messages), epoch, seq, oldest });
}

/** The code of `#invite=CODE`; it is taken out of the address at once, so that no copied link carries it. */
function takeInvite(): string | null {
  const code = new URLSearchParams(location.hash.slice(1)).get("invite");
  if (code !== null) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

/** Swaps the code for a session cookie; null on success, else the server's words for why not. */
async function enter(base: string, invite: string): Promise<string | null> {
  const answer = await fetch(`${base}session`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ invite }),
  });
  if (answer.ok) {
    location.reload();
    return null;
  }
  const body: unknown = await answer.json().catch(() => null);
  const { code, message } = isObject(body) && isObject(body.error) ? body.error : {};
  if (typeof code !== "string" || typeof message !== "string") return words.answeredWith(answer.status);
  return reasonOf({ code, message });
}

const main = document.getElementById("bqwidget");
if (main !== null) start(main);
