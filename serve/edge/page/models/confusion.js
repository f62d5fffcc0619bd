// What was taken for what on the held-out images: a table with tints, or the pairs that were confused most.

import { count, share } from "../lib/format.js";
import { Table } from "../lib/ui.js";
import { html, useId, useMemo } from "../vendor/vendor.js";

const MOST_CLASSES = 20;
const MOST_PAIRS = 25;
const TINTS = 5;

/** @param {{labels: string[], rows: number[][]}} props `rows`: images by true class, in each by named class */
export function Confusion({ labels, rows }) {
  return labels.length <= MOST_CLASSES
    ? html`<${Matrix} labels=${labels} rows=${rows} />`
    : html`<${Pairs} labels=${labels} rows=${rows} />`;
}

/** @param {{labels: string[], rows: number[][]}} props */
function Matrix({ labels, rows }) {
  const id = useId();
  return html`
    <div class="scroll" role="region" aria-labelledby=${id} tabindex="0">
      <table class="confusion">
        <caption id=${id}>Images of each true class (row) by the class that was named (column)</caption>
        <thead>
          <tr><th scope="col">True class</th>${labels.map(
            (label, column) => html`<th key=${column} scope="col" title=${label}><bdi>${label}</bdi></th>`,
          )}<th scope="col">Right</th></tr>
        </thead>
        <tbody>${rows.map(
          (cells, row) => html`
          <tr key=${row}>
            <th scope="row" title=${labels[row]}><bdi>${labels[row]}</bdi></th>
            ${cells.map((cell, column) => html`<td key=${column} class=${tint(cell, total(cells), row === column)}>${cell}</td>`)}
            <td class="right-share">${total(cells) ? share(cells[row] / total(cells)) : "–"}</td>
          </tr>`,
        )}</tbody>
      </table>
    </div>`;
}

/** Stronger with the share of the class; errors, which are rare, by its root. @param {number} cell @param {number} of
 * @param {boolean} right @returns {string} */
function tint(cell, of, right) {
  if (cell === 0) return "none";
  const part = right ? cell / of : Math.sqrt(cell / of);
  return `${right ? "good" : "bad"} tint-${Math.max(1, Math.ceil(TINTS * part))}`;
}

/** @param {number[]} cells @returns {number} */
function total(cells) {
  return cells.reduce((sum, cell) => sum + cell, 0);
}

/** @typedef {{truth: number, named: number, images: number, of: number}} Pair */

/** @param {{labels: string[], rows: number[][]}} props */
function Pairs({ labels, rows }) {
  const pairs = useMemo(() => confused(rows), [rows]);
  const columns = [
    { title: "True class", cell: (/** @type {Pair} */ { truth }) => html`<bdi>${labels[truth]}</bdi>`, head: true },
    { title: "Taken for", cell: (/** @type {Pair} */ { named }) => html`<bdi>${labels[named]}</bdi>` },
    { title: "Images", cell: (/** @type {Pair} */ { images }) => count(images), number: true },
    { title: "Of the class", cell: (/** @type {Pair} */ { images, of }) => share(images / of), number: true },
  ];
  return html`
    <${Table} caption=${`The pairs that were confused most, ${Math.min(pairs.length, MOST_PAIRS)} of ${count(pairs.length)}`}
      columns=${columns} rows=${pairs.slice(0, MOST_PAIRS)}
      rowKey=${(/** @type {Pair} */ { truth, named }) => `${truth} ${named}`} empty="No image was confused." />`;
}

/** A thousand classes have a million cells. @param {number[][]} rows @returns {Pair[]} the most frequent first */
function confused(rows) {
  const pairs = rows.flatMap((cells, truth) => {
    const of = total(cells);
    return cells.flatMap((images, named) => (truth !== named && images > 0 ? [{ truth, named, images, of }] : []));
  });
  return pairs.sort((one, other) => other.images - one.images);
}
