/** What a hello says about the room and its server, apart from the entries that follow it. */

import type { Hello } from "../protocol/server-frames";
import type { State } from "./state";

/** `now`: when it arrived, by this browser's clock in milliseconds; without it the clocks are not compared. */
export function welcomed(state: State, hello: Hello, now: number | undefined): Partial<State> {
  return {
    oldestSeq: hello.oldest,
    limits: hello.limits,
    principal: hello.user ?? state.principal,
    member: hello.member ?? null,
    role: hello.role ?? "write",
    share: hello.share ?? "",
    clockOffset: hello.now == null || now === undefined ? state.clockOffset : hello.now - now,
  };
}
