/** The members in the room: a count, also of agents, that opens the list of names, with the state of each kernel. */

import type { JSX } from "preact";
import { strings } from "../i18n/strings";
import type { Member } from "../protocol/server-frames";
import { Avatar } from "./shared/avatar";
import { Disclosure } from "./shared/disclosure";
import { PeopleIcon } from "./shared/icons";
import { VerificationBadge, verificationOf, verificationTitle } from "./shared/verification-badge";

interface Props {
  readonly members: readonly Member[];
  readonly isReader: (member: Member) => boolean;
}

export function Members({ members, isReader }: Props): JSX.Element | null {
  if (members.length === 0) return null;
  const mixed = members.some(({ verified }) => verified);
  const busy = members.filter((member) => member.busy).length;
  const agents = members.filter(({ kind }) => kind === "agent").length;
  return (
    <Disclosure
      class="bq-members"
      button={
        <>
          <PeopleIcon />
          <span>{strings.memberCount(members.length)}</span>
          {agents > 0 && <span class="bq-agents">{strings.agentCount(agents)}</span>}
          {busy > 0 && <span class="bq-busy">{strings.kernelsBusy(busy)}</span>}
        </>
      }
    >
      <ul class="bq-people" aria-label={strings.memberList} tabIndex={0}>
        {members.map((member, index) => (
          <li key={index}>
            <Avatar user={member.user} program={(member.kind ?? "person") !== "person"} profile={member.verified ? member.profile : null} />
            <Name member={member} mixed={mixed} />
            {member.kind === "agent" && <span class="bq-badge">{strings.programs.agent}</span>}
            {isReader(member) && hasNamesake(member, members) && <small>{readerLabel(member)}</small>}
            <small dir="auto">{activity(member)}</small>
          </li>
        ))}
      </ul>
    </Disclosure>
  );
}

function Name({ member, mixed }: { readonly member: Member; readonly mixed: boolean }): JSX.Element {
  const verification = verificationOf(member.verified, mixed);
  return (
    <>
      <span dir="auto" title={verificationTitle(verification)}>
        {member.user}
      </span>
      <VerificationBadge verification={verification} />
      {member.verified && member.profile?.name && (
        <span class="bq-alias" dir="auto">
          {member.profile.name}
        </span>
      )}
    </>
  );
}

const hasNamesake = (member: Member, members: readonly Member[]): boolean =>
  members.some((other) => other !== member && other.user === member.user);

const readerLabel = ({ kind }: Member): string => (kind === "kernel" ? strings.programs.yourKernel : strings.you);

function activity({ kind, busy, typing }: Member): string {
  if (typing) return typing === true ? strings.isTyping : typing;
  if (kind !== "kernel") return "";
  return busy ? strings.busy : strings.idle;
}
