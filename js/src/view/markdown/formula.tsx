/** A formula in TeX, as MathML; as it was written until that is there, and where TeX would not accept it. */

import type { JSX } from "preact";
import type { MathToken } from "../../worker/markdown/math";
import { useWorkerJob } from "../shared/hooks";
import { mathElement } from "./mathml";

export function Formula({ raw, text, display }: Pick<MathToken, "raw" | "text" | "display">): JSX.Element {
  const tree = useWorkerJob({ do: "math", text, display });
  if (tree === null) return <>{raw}</>;
  // Focusable, so that the keyboard can scroll it.
  return display ? (
    <span class="bq-formula" tabIndex={0} role="group">
      {mathElement(tree)}
    </span>
  ) : (
    <>{mathElement(tree)}</>
  );
}
