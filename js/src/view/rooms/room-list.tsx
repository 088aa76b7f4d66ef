/** The list of rooms with what is unread in each, and a box that finds a room or starts a new one. */

import type { ComponentProps, JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { errorText, strings } from "../../i18n/strings";
import { MAX_COUNTED, ordered, type RoomRow } from "../../model/rooms";
import { isRoomName } from "../../protocol/rooms";
import type { RoomList as Rooms } from "../../room/room-list";
import { IconButton } from "../shared/icon-button";
import { FindIcon, PeopleIcon, SidePanelIcon } from "../shared/icons";

interface Props {
  readonly rooms: Rooms;
  readonly onOpen: (room: string) => void;
  /** Opens a room in place of the list; absent where `onOpen` does. */
  readonly onOpenHere: ((room: string) => void) | undefined;
}

export function RoomList({ rooms, onOpen, onOpenHere }: Props): JSX.Element {
  const { rows, loaded, error } = rooms.state.value;
  const [query, setQuery] = useState("");
  const list = useRef<HTMLUListElement>(null);
  const order = useStableOrder(rows);
  const words = query.trim();
  const found = order.rows.filter(({ name }) => name.toLocaleLowerCase().includes(words.toLocaleLowerCase()));
  const startable = loaded && isRoomName(words) && !rows.some(({ name }) => name === words);
  const first = found.find(({ name }) => name === words) ?? found[0];
  const open = (name: string): void => {
    setQuery("");
    onOpen(name);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      moveFocus(list.current, step);
    } else if (event.key === "Escape" && query !== "") {
      event.stopPropagation();
      setQuery("");
    }
  };
  const onSubmit = (event: Event): void => {
    event.preventDefault();
    if (words === "") return;
    if (first !== undefined) open(first.name);
    else if (startable) open(words);
  };
  return (
    <section class="bq-chat bq-side" aria-label={strings.chatRooms} onKeyDown={onKeyDown}>
      <form class="bq-find" role="search" onSubmit={onSubmit}>
        <FindIcon />
        <input
          type="search"
          class="bq-find-box"
          aria-label={strings.findRoom}
          placeholder={strings.findRoom}
          autocomplete="off"
          spellcheck={false}
          value={query}
          onInput={({ currentTarget }) => setQuery(currentTarget.value)}
        />
      </form>
      {error !== null && (
        <p class="bq-side-note bq-side-error" role="status">
          {errorText(error)} · {strings.tryingAgain}
        </p>
      )}
      {!loaded && error === null && <p class="bq-side-note">{strings.loadingRooms}</p>}
      {loaded && (
        <ul class="bq-room-list" ref={list} aria-label={strings.rooms} {...order.handlers}>
          {found.map((row) => (
            <Row key={row.name} row={row} onOpen={open} onOpenHere={onOpenHere} />
          ))}
          {startable && (
            <li>
              <button type="button" class="bq-room-row bq-start" onClick={() => open(words)}>
                {strings.startRoom(words)}
              </button>
            </li>
          )}
        </ul>
      )}
      {loaded && found.length === 0 && !startable && <p class="bq-side-note">{strings.noSuchRoom}</p>}
    </section>
  );
}

interface RowProps {
  readonly row: RoomRow;
  readonly onOpen: (room: string) => void;
  readonly onOpenHere: ((room: string) => void) | undefined;
}

function Row({ row: { name, members, unread, mentions }, onOpen, onOpenHere }: RowProps): JSX.Element {
  const counts = [
    ...(mentions > 0 ? [strings.mentionCount(mentions)] : []),
    ...(unread > 0 ? [strings.unreadCount(unread)] : []),
    ...(members > 0 ? [strings.memberCount(members)] : []),
  ];
  return (
    <li>
      <button
        type="button"
        class={unread > 0 ? "bq-room-row bq-room-unread" : "bq-room-row"}
        aria-label={[name, ...counts].join(", ")}
        title={[name, ...counts].join(" · ")}
        onClick={() => onOpen(name)}
      >
        <span class="bq-room-name">{name}</span>
        {members > 0 && (
          <span class="bq-room-members">
            <PeopleIcon />
            {members}
          </span>
        )}
        {mentions > 0 && <span class="bq-pill bq-pill-mention">@{shown(mentions)}</span>}
        {unread > 0 && <span class="bq-pill">{shown(unread)}</span>}
      </button>
      {onOpenHere !== undefined && (
        <IconButton class="bq-room-here" label={`${strings.openHere}: ${name}`} onClick={() => onOpenHere(name)}>
          <SidePanelIcon />
        </IconButton>
      )}
    </li>
  );
}

const shown = (count: number): string => (count >= MAX_COUNTED ? `${MAX_COUNTED - 1}+` : String(count));

/** The order does not change while the reader points at the list or is in it, so that a click meets the room that was aimed at. */
function useStableOrder(rows: readonly RoomRow[]): { rows: RoomRow[]; handlers: ComponentProps<"ul"> } {
  const [inside, setInside] = useState({ pointer: false, focus: false });
  const last = useRef<string[] | null>(null);
  const sorted = ordered(rows, inside.pointer || inside.focus ? last.current : null);
  last.current = sorted.map(({ name }) => name);
  const handlers = {
    onPointerEnter: () => setInside({ ...inside, pointer: true }),
    onPointerLeave: () => setInside({ ...inside, pointer: false }),
    onFocusIn: () => setInside({ ...inside, focus: true }),
    onFocusOut: () => setInside({ ...inside, focus: false }),
  };
  return { rows: sorted, handlers };
}

/** To the next row, the one before, or the first. */
function moveFocus(list: HTMLElement | null, step: number): void {
  const buttons = [...(list?.querySelectorAll<HTMLElement>(".bq-room-row") ?? [])];
  const at = buttons.indexOf(document.activeElement as HTMLElement);
  const target = at < 0 ? buttons[0] : at + step < 0 ? boxOf(list) : buttons[at + step];
  target?.focus();
}

const boxOf = (list: HTMLElement | null): HTMLElement | null =>
  list?.closest(".bq-side")?.querySelector<HTMLElement>(".bq-find-box") ?? null;
