/** Notifications of the browser, while its tab is hidden: off until the reader turns them on, in each room by itself. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { strings } from "../i18n/strings";
import type { State } from "../model/state";
import type { Message } from "../protocol/entries";
import { addedSince, announcedNow, contentOf, type Announced } from "./announcer";
import { Disclosure } from "./shared/disclosure";
import { BellIcon } from "./shared/icons";
import { mentions } from "./shared/mentions";
import { loadNotified, saveNotified } from "./shared/storage";
import { useUniqueId } from "./shared/hooks";

/** Nothing, what names or asks the reader, or all. */
const CHOICES = ["", "named", "all"] as const;

interface Props {
  readonly state: State;
  /** Shows the message to the reader who clicks its notification. */
  readonly onOpen: (message: Message) => void;
}

export function Notifications({ state, onOpen }: Props): JSX.Element {
  const [which, setWhich] = useState(() => loadNotified(state.room));
  const [error, setError] = useState("");
  const group = useRef<HTMLDivElement>(null);
  const id = useUniqueId();
  useNotifications(state, which, onOpen);
  const choose = async (wanted: string): Promise<void> => {
    // The types say that it is always there; over plain http it is not.
    const { Notification: browser } = window as Partial<typeof window>;
    const permission = wanted === "" ? "granted" : ((await browser?.requestPermission()) ?? "missing");
    const allowed = permission === "granted";
    setError(allowed ? "" : permission === "missing" ? strings.notifyUnavailable : strings.notifyDenied);
    const chosen = allowed ? wanted : "";
    setWhich(chosen);
    saveNotified(state.room, chosen);
    // The browser has checked what the reader chose, and Preact does not set again what it has set.
    for (const input of group.current?.querySelectorAll("input") ?? []) input.checked = input.value === chosen;
  };
  return (
    <Disclosure class={`bq-notify${which === "" ? "" : " bq-on"}`} button={<BellIcon />} label={strings.notifications}>
      <div class="bq-popover" role="radiogroup" ref={group} aria-label={strings.notifications}>
        {CHOICES.map((each) => (
          <label key={each}>
            <input type="radio" name={id} value={each} checked={each === which} onChange={() => void choose(each)} /> {strings.notifyChoices[each]}
          </label>
        ))}
        <p>{strings.notifyHint}</p>
        {error !== "" && (
          <p class="bq-error" role="alert">
            {error}
          </p>
        )}
      </div>
    </Disclosure>
  );
}

function useNotifications(state: State, which: string, onOpen: Props["onOpen"]): void {
  const known = useRef<Announced | null>(null);
  useEffect(() => {
    if (!state.loaded) return;
    const before = known.current;
    known.current = announcedNow(state);
    if (which === "" || before?.epoch !== state.epoch || document.visibilityState === "visible") return;
    const message = addedSince(before, state).filter((each) => which === "all" || concerns(each, state)).at(-1);
    if (message === undefined) return;
    // With one tag, several windows of the room show one notification.
    const options = { body: `${message.user}: ${contentOf(message)}`, tag: `bqwidget:${state.room}` };
    try {
      new Notification(`#${state.room}`, options).onclick = () => {
        window.focus();
        onOpen(message);
      };
    } catch {
      // Chrome for Android has the constructor, and only workers may use it.
    }
  }, [state.lastSeq, state.loaded, state.epoch]);
}

/** Whether it names the reader, or asks them. */
function concerns({ text, ask }: Message, { principal, user }: State): boolean {
  const name = principal ?? user;
  if (ask === undefined) return mentions(text, name);
  return ask.from === undefined || [ask.from].flat().includes(name);
}
