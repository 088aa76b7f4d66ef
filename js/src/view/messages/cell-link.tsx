/** Leads from a message to the notebook cell that it is about, where that can be shown. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import type { CellAnchor } from "../../protocol/entries";
import { CellIcon } from "../shared/icons";
import { openNotebooks } from "../shared/notebooks";

export function CellLink({ cell }: { readonly cell: CellAnchor }): JSX.Element {
  const [missing, setMissing] = useState(false);
  const notebooks = openNotebooks();
  const content = (
    <>
      <CellIcon />
      <span dir="auto">{cell.path === "" ? strings.cell : strings.cellOf(cell.path)}</span>
    </>
  );
  if (notebooks === null) return <p class="bq-cell">{content}</p>;
  const show = async (): Promise<void> => setMissing(!(await notebooks.show(cell)));
  return (
    <>
      <button type="button" class="bq-cell" title={strings.showCell} onClick={() => void show()}>
        {content}
      </button>
      {missing && (
        <p class="bq-error" role="alert">
          {strings.cellMissing}
        </p>
      )}
    </>
  );
}
