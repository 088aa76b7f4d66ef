/** A formula in TeX. */

import type { JSX } from "preact";
import type { MathToken } from "../../worker/markdown/math";

export function Formula({ raw }: Pick<MathToken, "raw" | "text" | "display">): JSX.Element {
  return <>{raw}</>;
}
