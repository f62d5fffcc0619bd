// A long table that is sorted by its heads and shown from its beginning.

import { orderOf, SortHead, sorted } from "../../lib/sorting.js";
import { Rows } from "../../lib/ui.js";
import { html } from "../../vendor/vendor.js";
import { useBeginning } from "./parts.js";

/**
 * @typedef {import("../../lib/ui.js").Column & {id: string, value: (row: any) => number | string | boolean | null}}
 *   SortableColumn `value` is what rows are sorted by; null comes last
 */

const STEP = 50;

/**
 * @param {{caption: string, columns: SortableColumn[], rows: any[], rowKey: (row: any) => string, sort: string,
 *   onSort: (sort: string) => void, what: string}} props `sort` is a column's id, with a "-" before it where it falls;
 *   "" leaves the order as it is
 */
export function SortableTable({ caption, columns, rows, rowKey, sort, onSort, what }) {
  const falling = sort.startsWith("-");
  const by = columns.find(({ id }) => id === sort.replace(/^-/, ""));
  const { shown, more } = useBeginning(by ? sorted(rows, by.value, falling) : rows, STEP, what);
  return html`
    <div class="scroll" role="region" aria-label=${caption} tabindex="0">
      <table>
        <caption>${caption}</caption>
        <thead><tr>${columns.map(
          (column) => html`
          <${SortHead} key=${column.id} title=${column.title} number=${column.number} order=${orderOf(column.id, sort)}
            onSort=${() => onSort(next(column, sort))} />`,
        )}</tr></thead>
        <${Rows} columns=${columns} rows=${shown} rowKey=${rowKey} />
      </table>
    </div>
    ${more}`;
}

/** Numbers fall at first, since the largest matter; then they rise; then the order is as it was. */
function next(/** @type {SortableColumn} */ { id, number }, /** @type {string} */ sort) {
  const order = number ? [`-${id}`, id, ""] : [id, `-${id}`, ""];
  return order[(order.indexOf(sort) + 1) % order.length];
}
