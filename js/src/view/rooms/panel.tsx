/** The side panel: the list of rooms, or one of them with a way back to the list. */

import type { JSX } from "preact";
import type { ReadonlySignal } from "@preact/signals";
import { strings } from "../../i18n/strings";
import type { Connections } from "../../room/connections";
import type { RoomList as Rooms } from "../../room/room-list";
import { IconButton } from "../shared/icon-button";
import { BackIcon, TabIcon } from "../shared/icons";
import { RoomList } from "./room-list";
import { RoomWindow } from "./room-window";

interface PanelProps {
  readonly rooms: Rooms;
  readonly connections: Connections;
  /** The name of the room that is shown; "" for the list. */
  readonly shown: ReadonlySignal<string>;
  readonly onShow: (room: string) => void;
  /** Opens a room as a tab; absent where there are no tabs. */
  readonly onOpenTab?: ((room: string) => void) | undefined;
}

export function Panel({ rooms, connections, shown, onShow, onOpenTab }: PanelProps): JSX.Element {
  const name = shown.value;
  if (name === "") return <RoomList rooms={rooms} onOpen={onOpenTab ?? onShow} onOpenHere={onOpenTab && onShow} />;
  return (
    <>
      <nav class="bq-chat bq-side-bar">
        <button type="button" class="bq-back" onClick={() => onShow("")}>
          <BackIcon />
          {strings.allRooms}
        </button>
        {onOpenTab !== undefined && (
          <IconButton
            label={strings.openAsTab}
            onClick={() => {
              onShow("");
              onOpenTab(name);
            }}
          >
            <TabIcon />
          </IconButton>
        )}
      </nav>
      <RoomWindow key={name} name={name} connections={connections} />
    </>
  );
}
