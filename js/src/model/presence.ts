/** What the state keeps of the members in the room, also after they have left. */

import type { Member, PresenceFrame, Profile } from "../protocol/server-frames";
import type { State } from "./state";

const PROFILE_FIELDS = ["name", "initials", "color", "avatar"] as const;
const isSameProfile = (a: Profile | undefined, b: Profile): boolean => PROFILE_FIELDS.every((name) => a?.[name] === b[name]);

const isSameMember = (a: Member, b: Member): boolean =>
  a.user === b.user &&
  (a.kind ?? "person") === (b.kind ?? "person") &&
  (a.verified ?? false) === (b.verified ?? false) &&
  (a.id ?? null) === (b.id ?? null);

/** Whether `member` is the reader: by the id where both have one, for several may use one unverified name. */
export function isReader({ user, principal, member: id }: State, member: Member): boolean {
  if (id !== null && member.id != null) return member.id === id;
  return member.user === (principal ?? user);
}

/** The members of a `presence` frame, complete. `before`: those of the frame before it. */
export function membersAfter(before: readonly Member[], frame: PresenceFrame): readonly Member[] {
  const members = frame.members ?? [];
  if (frame.same_commands !== true) return members;
  return members.map((member) => {
    const commands = before.find((each) => isSameMember(each, member))?.commands;
    return commands === undefined ? member : { ...member, commands };
  });
}

/** The fields of `state` that `members` changes; sets and maps without a change keep their identity. */
export function withMembers({ kernels, profiles }: State, members: readonly Member[]): Partial<State> {
  const joined = members.flatMap(({ user, kind }) => (kind === "kernel" && !kernels.has(user) ? [user] : []));
  const changed = members.flatMap(({ user, verified, profile }) =>
    verified && profile !== undefined && !isSameProfile(profiles.get(user), profile) ? [[user, profile] as const] : [],
  );
  return {
    members,
    kernels: joined.length > 0 ? new Set([...kernels, ...joined]) : kernels,
    profiles: changed.length > 0 ? new Map([...profiles, ...changed]) : profiles,
  };
}
