// Tables that are sorted by the column that the reader chooses.

import { html } from "../vendor/vendor.js";

/**
 * Rows by a value; null comes last, whichever way.
 *
 * @template T
 * @param {T[]} rows @param {(row: T) => number | string | boolean | null} value @param {boolean} falling @returns {T[]}
 */
export function sorted(rows, value, falling) {
  const sign = falling ? -1 : 1;
  return rows.toSorted((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    if (typeof a === "string") return sign * a.localeCompare(String(b), "en", { numeric: true });
    return sign * (Number(a) - Number(b));
  });
}

/**
 * The head of a column, which sorts by it.
 *
 * @param {{title: string, number?: boolean, order: "ascending" | "descending" | undefined, onSort: () => void}} props
 *   `order` is undefined where another column decides
 */
export function SortHead({ title, number, order, onSort }) {
  const sign = { ascending: "▲", descending: "▼" };
  return html`
    <th scope="col" class=${number ? "number" : ""} aria-sort=${order}>
      <button type="button" class="sort" onClick=${onSort}>
        ${title} <span aria-hidden="true">${order ? sign[order] : "↕"}</span></button></th>`;
}

/** The order in which a column is sorted by `sort`, a column's id, with a "-" before it where it falls.
 *
 * @param {string} id @param {string} sort
 */
export function orderOf(id, sort) {
  if (sort === id) return "ascending";
  return sort === `-${id}` ? "descending" : undefined;
}
