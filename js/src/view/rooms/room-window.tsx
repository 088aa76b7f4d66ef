/** A room's window outside a notebook's cell: it has a connection to the server, shared with the room's other windows. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Connections } from "../../room/connections";
import { Chat } from "../chat";

interface Props {
  readonly name: string;
  readonly connections: Connections;
}

export function RoomWindow({ name, connections }: Props): JSX.Element {
  const [room] = useState(() => connections.acquire(name));
  useEffect(() => () => connections.release(name), []);
  const verified = room.state.value.principal !== null;
  return <Chat room={room} defaultName="" verified={verified} docked />;
}
