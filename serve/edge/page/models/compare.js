// All versions in one table, sorted by the column that the reader chooses.

import { count, ms, NOTHING, share } from "../lib/format.js";
import { set } from "../lib/route.js";
import { orderOf, SortHead, sorted } from "../lib/sorting.js";
import { Section } from "../lib/ui.js";
import { html, useId } from "../vendor/vendor.js";
import { accuracy, address, attentionName, details } from "./facts.js";
import { Range, scaleInWords } from "./range.js";

/** @typedef {import("./facts.js").Model} Model */
/** @typedef {import("./range.js").Scale} Scale */

/**
 * @typedef {object} Column
 * @property {string} id in the address
 * @property {string} title
 * @property {(model: Model) => number | string | null} by what is sorted; null stands last
 * @property {(model: Model) => string} [cell]
 * @property {boolean} [number]
 */

/** @type {Column[]} */
const COLUMNS = [
  { id: "model", title: "Model", by: address },
  {
    id: "attention",
    title: "Attention",
    by: ({ attention }) => attention,
    cell: (one) => attentionName(one.attention),
  },
  { id: "accuracy", title: "Accuracy", by: (model) => accuracy(model)?.value ?? null },
  {
    id: "parameters",
    title: "Parameters",
    by: ({ card }) => card?.parameters ?? null,
    cell: ({ card }) => count(card?.parameters),
    number: true,
  },
  {
    id: "macs",
    title: "MACs an image",
    by: ({ card }) => card?.macs ?? null,
    cell: ({ card }) => count(card?.macs),
    number: true,
  },
  {
    id: "ms",
    title: "Mean request",
    by: ({ usage }) => usage.mean_ms,
    cell: ({ usage }) => (usage.requests ? ms(usage.mean_ms) : "not asked yet"),
    number: true,
  },
];

/** @param {{models: Model[], scale: Scale | null, sort: string}} props `sort`: a column's id, after "-" downwards */
export function Compare({ models, scale, sort }) {
  const id = useId();
  const down = sort.startsWith("-");
  const chosen = COLUMNS.find((column) => column.id === sort.replace(/^-/, "")) ?? COLUMNS[0];
  const by = down ? `-${chosen.id}` : chosen.id;
  const rows = sorted(models, chosen.by, down);
  const note = scale ? `Accuracy with its 95 % interval; the pictures go ${scaleInWords(scale)}.` : "";
  return html`
    <${Section} title="Compared" note=${note}>
      <div class="scroll" role="region" aria-labelledby=${id} tabindex="0">
        <table class="compare">
          <caption class="unseen" id=${id}>Models compared; the buttons in its head sort the table</caption>
          <thead><tr>${COLUMNS.map(
            ({ id, title, number }) => html`
            <${SortHead} key=${id} title=${title} number=${number} order=${orderOf(id, by)}
              onSort=${() => set({ sort: by === id ? `-${id}` : id })} />`,
          )}</tr></thead>
          <tbody>${rows.map((model) => html`<${Row} key=${address(model)} model=${model} scale=${scale} />`)}</tbody>
        </table>
      </div>
    <//>`;
}

/** @param {{model: Model, scale: Scale | null}} props */
function Row({ model, scale }) {
  const found = accuracy(model);
  const ends = found && found.low !== null ? `${share(found.low)} to ${share(found.high)}` : "";
  return html`
    <tr>
      <th scope="row"><a href=${details(model)}><bdi>${address(model)}</bdi></a>
        ${model.state === "READY" ? null : html`<span class="note"> not ready</span>`}</th>
      <td><bdi>${attentionName(model.attention)}</bdi></td>
      <td class="accuracy">
        ${found ? html`<b>${share(found.value)}</b> ${ends}` : NOTHING}
        <${Range} model=${model} scale=${scale} />
      </td>
      ${COLUMNS.slice(3).map((column) => html`<td key=${column.id} class="number">${column.cell?.(model)}</td>`)}
    </tr>`;
}
