/** A button that shows an icon, with the same text as its accessible name and its tooltip. */

import type { ComponentProps, JSX } from "preact";

interface Props extends ComponentProps<"button"> {
  readonly label: string;
}

export const IconButton = ({ label, ...props }: Props): JSX.Element => (
  <button type="button" aria-label={label} title={label} {...props} />
);
