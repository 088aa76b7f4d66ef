/** The window: a named region with a header, the list of messages, the composer and a footer. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { strings } from "../i18n/strings";
import { isReader } from "../model/presence";
import type { State, View } from "../model/state";
import type { Message } from "../protocol/entries";
import type { Room } from "../room/room";
import { Announcer } from "./announcer";
import { AttachmentCacheContext } from "./attachments/use-attachment";
import { Composer, NEW_MESSAGE, type ComposerMode } from "./composer/composer";
import { EmojiPicker } from "./emoji/emoji-picker";
import { addressOf } from "./finding/permalink";
import { Pinned } from "./finding/pinned";
import { SearchPanel } from "./finding/search-panel";
import { useFinding } from "./finding/use-finding";
import { Footer } from "./footer";
import { Header } from "./header";
import { useKeyboardIsolation } from "./keyboard-isolation";
import { MessageList } from "./messages/message-list";
import type { MessageActions } from "./messages/message-toolbar";
import { NamesContext, useNames } from "./shared/mention-text";
import { openNotebooks } from "./shared/notebooks";
import { saveName } from "./shared/storage";

interface Props {
  readonly room: Room;
  /** The reader's name until they choose another one. */
  readonly defaultName: string;
  /** The server authenticated the reader: the name cannot be changed. */
  readonly verified?: boolean;
  /** `h1` on a page, where it is the only heading; `h2` in a notebook, below the notebook's own. */
  readonly heading?: "h1" | "h2";
  /** The page with the list of rooms. */
  readonly roomsUrl?: string;
  /** In a panel or tab of JupyterLab: nothing around it reacts to plain keys, and its address is for who may log in. */
  readonly docked?: boolean;
}

export function Chat({ room, defaultName, verified = false, heading = "h2", roomsUrl, docked = false }: Props): JSX.Element {
  const state = room.state.value;
  const region = useRef<HTMLElement>(null);
  const nameInput = useRef<HTMLInputElement>(null);
  const [mode, setMode] = useState<ComposerMode>(NEW_MESSAGE);
  const [nameMissing, setNameMissing] = useState(false);
  /** The message for which the reader chooses an emoji. */
  const [reacting, setReacting] = useState<Message | null>(null);
  const isPage = heading === "h1";
  const { view, go, searching, setSearching, searchButton, onLink } = useFinding(room, state, region, isPage);
  useKeyboardIsolation(region, !docked);
  const names = useNames(state);
  useEffect(() => {
    if (isPage && !verified && state.user === "") nameInput.current?.focus(); // a guest who comes in
  }, []);
  useEffect(() => openNotebooks()?.mark(state.room, state.messages), [state.messages]);
  const requireName = (): boolean => {
    const named = state.user.trim() !== "";
    setNameMissing(!named);
    if (!named) nameInput.current?.focus();
    return named;
  };
  const latestRequireName = useRef(requireName);
  latestRequireName.current = requireName;
  const actions = useMemo(
    () => ({ ...messageActions(room, setMode, () => latestRequireName.current(), view), onPickEmoji: setReacting }),
    [room],
  );
  const rename = (user: string): void => {
    setNameMissing(false);
    room.rename(user);
    saveName(defaultName, user);
  };
  const onNamed = (): void => {
    room.announceName();
    region.current?.querySelector("textarea")?.focus();
  };
  return (
    <section
      class="bq-chat"
      ref={region}
      aria-label={strings.region(state.room)}
      data-lm-suppress-shortcuts={docked ? undefined : "true"}
      onClick={onLink}
    >
      <Header
        state={state}
        heading={heading}
        roomsUrl={roomsUrl}
        searchButton={searchButton}
        searching={searching}
        onSearch={() => setSearching(true)}
        link={(invite) => room.link(invite)}
        onOpen={({ seq }) => go({ around: seq })}
        moderate={(order) => room.moderate(order)}
      />
      <SearchPanel room={room} open={searching} onClose={() => setSearching(false)} onGo={go} />
      <Pinned messages={state.pins.messages} onGo={actions.onGo} />
      <AttachmentCacheContext.Provider value={room.attachments}>
        <NamesContext.Provider value={names}>
          <MessageList room={room} view={view} state={state} actions={actions} />
        </NamesContext.Provider>
      </AttachmentCacheContext.Provider>
      <Typing state={state} />
      <Composer room={room} state={state} mode={mode} onMode={setMode} requireName={requireName} />
      <Footer state={state} verified={verified} nameInput={nameInput} nameMissing={nameMissing} onRename={rename} onNamed={onNamed} />
      <Announcer state={state} />
      {reacting !== null && (
        <EmojiPicker
          onChoose={(emoji) => actions.onReact(reacting, emoji, true)}
          onClose={() => {
            setReacting(null);
            region.current?.querySelector<HTMLElement>(`[data-seq="${reacting.seq}"]`)?.focus();
          }}
        />
      )}
    </section>
  );
}

function Typing({ state }: { readonly state: State }): JSX.Element {
  const active = state.members.filter((member) => member.typing && !isReader(state, member));
  const users = active.flatMap(({ typing, user }) => (typing === true ? [user] : []));
  const activities = active.flatMap(({ typing, user }) => (typeof typing === "string" ? [strings.activity(user, typing)] : []));
  const shown = [...activities, ...(users.length > 0 ? [strings.typing(users)] : [])];
  return (
    <p class="bq-typing" aria-hidden="true" dir="auto">
      {shown.length > 0 && shown.join(" · ")}
    </p>
  );
}

function messageActions(room: Room, setMode: (mode: ComposerMode) => void, requireName: () => boolean, view: View): Omit<MessageActions, "onPickEmoji"> {
  return {
    onGo: (seq) => room.jump(view, { around: seq }),
    addressOf: async ({ seq }) => addressOf(await room.link(), seq),
    onReply: (to) => setMode({ kind: "reply", to }),
    onEdit: (message) => setMode({ kind: "edit", message }),
    onRemove: (message) => requireName() && room.remove(message),
    onReact: (message, emoji, on) => requireName() && room.react(message, emoji, on),
    onPin: (message, on) => requireName() && room.pin(message, on),
    onAnswer: (question, text, choice) =>
      requireName() && (choice ? room.answer(question, text) : room.send(text, question)),
    onVote: (poll, choice) => requireName() && room.vote(poll, choice),
    onDiscard: (cid) => room.discard(cid),
    onStop: (message) => requireName() && room.stopMessage(message),
  };
}
