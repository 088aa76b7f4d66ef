/** The entry point of the room's web page: continues from the messages in the HTML, or redeems an invite. */

import { effect } from "@preact/signals";
import { h, render } from "preact";
import { errorText, setLanguage, strings } from "./i18n/strings";
import { openedAt } from "./model/reading-reducer";
import { hydratedState, initialState, type State } from "./model/state";
import { asMessages } from "./protocol/guards";
import { isObject } from "./protocol/schema";
import { parseJson } from "./protocol/schema";
import { Room } from "./room/room";
import { SocketSource } from "./transport/socket-source";
import { Chat } from "./view/chat";
import { InviteScreen, parseInvite } from "./view/invite-screen";
import { loadClientId, loadName, loadRead, saveRead } from "./view/shared/storage";
import { addProgramLoader } from "./worker/worker-client";

const UNREAD_DOT = "%3Ccircle cx='25' cy='7' r='7' fill='%23d6303a' stroke='%23fff' stroke-width='2'/%3E";

/** The state of the history entry whose page was loaded again, which happens once. */
const LOADED_AGAIN = "bqwidget-loaded-again";

function start(main: HTMLElement): void {
  // The HTML's `lang` is that of the server's own few words: the server does not know the reader's language.
  document.documentElement.lang = setLanguage(navigator.languages);
  const { room: name = "", base: path = "/", session } = main.dataset;
  const base = new URL(path, location.href).href;
  const code = takeInviteCode();
  if (session === "no") {
    main.replaceChildren();
    void askForInvite(main, base, name, code);
    return;
  }
  if (name === "") return; // the list of rooms, which is complete
  const embedded = parseJson(document.getElementById("bqwidget-state")?.textContent ?? "");
  const data = isObject(embedded) ? embedded : {};
  const principal = typeof data.user === "string" ? data.user : null;
  const member = loadClientId();
  const state = { ...initialState(name, principal ?? loadName(""), [member], loadRead(name)), principal };
  const source = new SocketSource({ base, room: name, member });
  const room = new Room(source, withEmbedded(state, data), (position) => saveRead(name, position));
  main.querySelector("noscript")?.remove();
  // Takes over the elements of the HTML, which are alike.
  render(h(Chat, { room, defaultName: "", verified: principal !== null, heading: "h1", roomsUrl: path }), main);
  room.start();
  addProgramLoader(async (program) => {
    const response = await fetch(new URL(`${program}.js`, import.meta.url));
    if (!response.ok) throw new Error(`${program}.js: ${response.status}`);
    return response.text();
  });
  showUnread(room);
}

/**
 * Shows the invite screen, unless this browser has a session: then loads the page again. A link on another site opens
 * the page without its cookie, which is SameSite=Strict; requests of the page itself carry it.
 */
async function askForInvite(main: HTMLElement, base: string, room: string, code: string | null): Promise<void> {
  if (history.state !== LOADED_AGAIN && (await hasSession(base, room))) {
    history.replaceState(LOADED_AGAIN, "");
    location.reload();
    return;
  }
  const redeem = (given: string): Promise<string | null> => {
    const invite = parseInvite(given);
    return redeemInvite(base, invite.code, room === "" && invite.room !== null ? `${base}rooms/${invite.room}` : null);
  };
  render(h(InviteScreen, { room, code, redeem }), main);
}

async function hasSession(base: string, room: string): Promise<boolean> {
  const url = room === "" ? `${base}rooms` : `${base}rooms/${encodeURIComponent(room)}/messages?limit=1`;
  const status = await fetch(url).then(
    (response) => response.status,
    () => 0,
  );
  return status === 200 || status === 403;
}

/** Shows unread messages on the browser's tab: their number in the title, a dot on the icon. */
function showUnread(room: Room): void {
  const { title } = document;
  const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
  const plain = icon?.href ?? "";
  effect(() => {
    const { count } = room.state.value.unread;
    document.title = count > 0 ? `(${count}) ${title}` : title;
    const href = count > 0 ? plain.replace("%3C/svg%3E", `${UNREAD_DOT}%3C/svg%3E`) : plain;
    if (icon !== null && icon.href !== href) icon.href = href;
  });
}

function withEmbedded(state: State, data: Readonly<Record<string, unknown>>): State {
  const { messages, epoch, seq, oldest, read } = data;
  if (typeof epoch !== "string" || typeof seq !== "number" || typeof oldest !== "number") return state;
  const hydrated = hydratedState(state, { messages: asMessages(messages), epoch, seq, oldest });
  return openedAt(hydrated, { epoch, seq, ...(typeof read === "number" && { read }) });
}

/** The code of `#invite=CODE`; it is removed from the address, so that a copied link does not contain it. */
function takeInviteCode(): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const code = fragment.get("invite");
  fragment.delete("invite");
  const rest = fragment.size > 0 ? `#${fragment}` : "";
  if (code !== null) history.replaceState(null, "", location.pathname + location.search + rest);
  return code;
}

/** Exchanges the code for a session cookie, and goes to the page `next` or loads this one; else why it was refused. */
async function redeemInvite(base: string, invite: string, next: string | null): Promise<string | null> {
  const response = await fetch(`${base}session`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ invite }),
  });
  if (response.ok) {
    if (next === null) location.reload();
    else location.assign(next);
    return null;
  }
  const body: unknown = await response.json().catch(() => null);
  const { code, message } = isObject(body) && isObject(body.error) ? body.error : {};
  if (typeof code !== "string" || typeof message !== "string") return strings.httpStatus(response.status);
  return errorText({ code, message });
}

const main = document.getElementById("bqwidget");
if (main !== null) start(main);
