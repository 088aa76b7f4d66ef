/** The window: a named region with a header, the messages, the box to write in, and a line of status. */

import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import type { Room } from "../room/room";
import type { State } from "../model/state";
import type { Deeds } from "./messages/message-actions";
import { Announcer } from "./announcer";
import { MediaContext } from "./attachments/attachments";
import { Composer, NEW, type Mode } from "./composer/composer";
import { useKeysStayHere } from "./keyboard-isolation";
import { MessageList } from "./messages/message-list";
import { Members } from "./members";
import { rememberName } from "./shared/storage";
import { Share } from "./share-button";
import { StatusLine } from "./status-line";
import { words } from "../i18n/strings";

interface Props {
  readonly room: Room;
  /** The name to start with, before the reader chose one. */
  readonly given: string;
  /** The server says who this is: the name can't be changed. */
  readonly verified?: boolean;
  /** A page's only heading is its first; in a notebook it stands below the notebook's own. */
  readonly heading?: "h1" | "h2";
  /** The room's own address, where it has one to share. */
  readonly link?: string;
}

export function Chat({ room, given, verified = false, heading = "h2", link }: Props): JSX.Element {
  const state = room.state.value;
  const region = useRef<HTMLElement>(null);
  const name = useRef<HTMLInputElement>(null);
  const [mode, setMode] = useState<Mode>(NEW);
  const [nameless, setNameless] = useState(false);
  useKeysStayHere(region);
  const hasName = (): boolean => {
    const named = state.user.trim() !== "";
    setNameless(!named);
    if (!named) name.current?.focus();
    return named;
  };
  const speaker = useRef(hasName);
  speaker.current = hasName;
  const deeds = useMemo(() => deedsOf(room, setMode, () => speaker.current()), [room]);
  return (
    <section class="bq-chat" ref={region} aria-label={words.region(state.room)} data-lm-suppress-shortcuts="true">
      <Header state={state} heading={heading} link={link} />
      <MediaContext.Provider value={room.media}>
        <MessageList room={room} state={state} deeds={deeds} />
      </MediaContext.Provider>
      <Typing state={state} />
      <Composer room={room} state={state} mode={mode} onMode={setMode} onNameless={hasName} />
      <footer class="bq-footer">
        <StatusLine state={state} />
        <label class={`bq-name${nameless ? " bq-wanted" : ""}`}>
          <span aria-hidden="true">{words.you}</span>
          <input
            ref={name}
            aria-label={words.yourName}
            placeholder={words.yourName}
            dir="auto"
            autocomplete="nickname"
            spellcheck={false}
            maxLength={state.limits.user}
            readOnly={verified || state.principal !== null}
            value={state.principal ?? state.user}
            onInput={(event) => {
              const user = event.currentTarget.value;
              setNameless(false);
              room.rename(user);
              rememberName(given, user);
            }}
          />
        </label>
        {nameless && (
          <p class="bq-trouble" role="alert">
            {words.nameFirst}
          </p>
        )}
      </footer>
      <Announcer state={state} />
    </section>
  );
}

interface HeaderProps {
  readonly state: State;
  readonly heading: "h1" | "h2";
  readonly link: string | undefined;
}

function Header({ state, heading: Heading, link }: HeaderProps): JSX.Element {
  const over = state.status.status === "closed" || state.link === "gone";
  return (
    <header class="bq-header">
      <Heading class="bq-room" dir="auto">
        {state.room}
      </Heading>
      <Members members={over ? [] : state.members} />
      {link !== undefined && <Share link={link} />}
    </header>
  );
}

function Typing({ state }: { readonly state: State }): JSX.Element {
  const own = state.principal ?? state.user;
  const users = state.members.filter(({ typing, user }) => typing && user !== own).map(({ user }) => user);
  return (
    <p class="bq-typing" aria-hidden="true" dir="auto">
      {users.length > 0 && words.typing(users)}
    </p>
  );
}

function deedsOf(room: Room, setMode: (mode: Mode) => void, hasName: () => boolean): Deeds {
  return {
    onReply: (to) => setMode({ kind: "reply", to }),
    onEdit: (message) => setMode({ kind: "edit", message }),
    onRemove: (message) => hasName() && room.remove(message),
    onReact: (message, emoji, on) => hasName() && room.react(message, emoji, on),
    onAnswer: (question, text, choice) =>
      hasName() && (choice ? room.answer(question, text) : room.say(text, question)),
  };
}
