/** What the state keeps of the members in the room, also after they have left. */

import type { Member, Profile } from "../protocol/server-frames";
import type { State } from "./state";

const PROFILE_FIELDS = ["name", "initials", "color", "avatar"] as const;
const isSameProfile = (a: Profile | undefined, b: Profile): boolean => PROFILE_FIELDS.every((name) => a?.[name] === b[name]);

/** The fields of `state` that `members` changes; sets and maps without a change keep their identity. */
export function withMembers({ kernelNames, profiles }: State, members: readonly Member[]): Partial<State> {
  const kernels = members.flatMap(({ user, kind }) => (kind === "kernel" && !kernelNames.has(user) ? [user] : []));
  const changed = members.flatMap(({ user, verified, profile }) =>
    verified && profile !== undefined && !isSameProfile(profiles.get(user), profile) ? [[user, profile] as const] : [],
  );
  return {
    members,
    kernelNames: kernels.length > 0 ? new Set([...kernelNames, ...kernels]) : kernelNames,
    profiles: changed.length > 0 ? new Map([...profiles, ...changed]) : profiles,
  };
}
