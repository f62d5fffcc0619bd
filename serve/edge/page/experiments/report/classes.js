// Where the arm gains or loses, by class.

import { Field } from "../../lib/dialog.js";
import { set } from "../../lib/route.js";
import { Section } from "../../lib/ui.js";
import { html } from "../../vendor/vendor.js";
import { Confusions } from "./confusion.js";
import { count, evidence, POINTS } from "./figures.js";
import { list, Nothing } from "./parts.js";
import { SortableTable } from "./sortable.js";

/** @typedef {import("./figures.js").Json} Json */

const NOTE = "Of the classes marked as found, at most a tenth are found by chance (e-BH), however often one looks.";

/** @param {string} id @param {string} title @param {(value: any) => string} write */
function figure(id, title, write) {
  return {
    id,
    title,
    number: true,
    value: (/** @type {Json} */ row) => row[id],
    cell: (/** @type {Json} */ row) => write(row[id]),
  };
}

/** @param {string} id @param {string} title @param {boolean} [head] */
function named(id, title, head = false) {
  const value = (/** @type {Json} */ row) => row[id];
  return { id, title, head, value, cell: (/** @type {Json} */ row) => html`<bdi>${row[id]}</bdi>` };
}

const COLUMNS = [
  named("label", "True class", true),
  named("arm", "Arm"),
  figure("estimate", "Difference", POINTS.one),
  figure("control_n", "Images of the control", count),
  figure("arm_n", "Images of the arm", count),
  figure("control_right", "Only control right", count),
  figure("arm_right", "Only arm right", count),
  figure("log_e", "e-value", evidence),
  {
    id: "found",
    title: "Found",
    value: (/** @type {Json} */ row) => !row.found,
    cell: (/** @type {Json} */ row) =>
      row.found
        ? html`<span class="state even"><span aria-hidden="true">◆</span> yes</span>`
        : html`<span class="quiet">no</span>`,
  },
];

/** Those that found a difference first, then those with the largest change. @param {Json[]} rows */
function notable(rows) {
  const size = (/** @type {Json} */ row) => Math.abs(row.estimate ?? 0);
  return rows.toSorted((one, other) => Number(other.found) - Number(one.found) || size(other) - size(one));
}

/** @param {{report: Json, query: URLSearchParams}} props */
export function Classes({ report, query }) {
  const rows = list(report, "classes");
  if (rows.length === 0) {
    return html`
      <${Section} title="Where the arm gains or loses: by class">
        <${Nothing}>Classes are compared once labels have arrived.<//>
      <//>
      <${Confusions} report=${report} query=${query} />`;
  }
  const wanted = query.get("class") ?? "";
  const seen = notable(rows).filter(({ label }) => label.toLowerCase().includes(wanted.toLowerCase()));
  const typed = (/** @type {any} */ event) => set({ class: event.target.value });
  return html`
    <${Section} title="Where the arm gains or loses: by class" note=${NOTE}>
      <div class="choices"><${Field} label="Classes whose name contains">${(
        /** @type {Record<string, unknown>} */ attributes,
      ) => html`<input ...${attributes} type="search" value=${wanted} onInput=${typed} />`}<//></div>
      ${
        seen.length
          ? html`<${SortableTable} columns=${COLUMNS} rows=${seen} sort=${query.get("sort") ?? ""} what="rows"
        onSort=${(/** @type {string} */ sort) => set({ sort })}
        rowKey=${(/** @type {Json} */ row) => `${row.arm}\n${row.label}`}
        caption="Accuracy on the images of each true class, arm minus control, in percentage points." />`
          : html`<p class="note" role="status">No class has such a name.</p>`
      }
    <//>
    <${Confusions} report=${report} query=${query} />`;
}
