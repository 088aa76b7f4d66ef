/** Commands such as `/mean 3 4 8`, which kernels and agents offer: found in a text, and completed while written. */

import type { State } from "../../model/state";
import type { Command } from "../../protocol/server-frames";
import type { Word } from "../shared/words";

export interface OfferedCommand extends Command {
  /** The members who offer it. */
  readonly users: readonly string[];
}

/** A message is a command if it begins like this: a path such as `/usr/bin` is none. */
const COMMAND = /^\/([\p{L}\p{N}_-]{1,32})(?=\s|$)/u;
const COMMAND_BEFORE_CARET = /^\/([\p{L}\p{N}_-]{0,32})$/u;
/** Who offers commands answers this one too, whether it is among them or not. */
const HELP = "help";

/** The commands of all members, by name; `help` describes `/help`, if no member does. */
export function offeredCommands({ members }: Pick<State, "members">, help: string): OfferedCommand[] {
  const offered = new Map<string, OfferedCommand>();
  for (const { user, commands = [] } of members) {
    for (const command of commands) {
      const known = offered.get(command.name) ?? { ...command, users: [] };
      if (!known.users.includes(user)) offered.set(command.name, { ...known, users: [...known.users, user] });
    }
  }
  if (offered.size > 0 && !offered.has(HELP)) offered.set(HELP, { name: HELP, help, users: [] });
  return [...offered.values()].sort((a, b) => a.name.localeCompare(b.name));
}

/** The name of the command that `text` is; null if it is not one. */
export const commandName = (text: string): string | null => COMMAND.exec(text)?.[1] ?? null;

export function commandAt(text: string, caret: number): Word | null {
  const query = COMMAND_BEFORE_CARET.exec(text.slice(0, caret))?.[1];
  return query === undefined ? null : { start: 0, query };
}

/** The commands that `query` may become: first those that start with it. None if it is the only one already. */
export function matchingCommands(commands: readonly OfferedCommand[], { query }: Word): OfferedCommand[] {
  const part = query.toLowerCase();
  const position = ({ name }: Command): number => name.toLowerCase().indexOf(part);
  const found = commands.filter((each) => position(each) >= 0);
  const sorted = found.sort((a, b) => Number(position(a) > 0) - Number(position(b) > 0));
  return sorted.length === 1 && sorted[0]?.name === query ? [] : sorted;
}

/** How it is written: `/mean NUMBERS...`. */
export function usageOf({ name, usage = "" }: Command): string {
  return commandName(usage) === name ? usage : `/${name} ${usage}`.trim();
}
