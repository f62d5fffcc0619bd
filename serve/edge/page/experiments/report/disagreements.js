// The images on which the arms disagree: only their labels can change the comparison, and here they are given.

import { segment, useResource } from "../../lib/api.js";
import { share, time } from "../../lib/format.js";
import { set } from "../../lib/route.js";
import { useSession } from "../../lib/session.js";
import { Loaded, Notice, Problem, Section, Table } from "../../lib/ui.js";
import { html, useState } from "../../vendor/vendor.js";
import { Workbench } from "./labelling.js";
import { Downloads, list, useBeginning } from "./parts.js";
import { Picture } from "./picture.js";
import { keyOf, NOTED, useQueue } from "./queue.js";

/** @typedef {import("./figures.js").Json} Json */

const FETCHED = 200;
const STEP = 20;
const TITLE = "Where the arms disagree";

/** @param {{name: string, report: Json, labels: string[], query: URLSearchParams, onLabelled: () => void}} props */
export function Disagreements({ name, report, labels, query, onLabelled }) {
  const { lacks } = useSession();
  const [limit, setLimit] = useState(FETCHED);
  const all = query.get("unlabelled") === "no";
  const path = `v1/experiments/${segment(name)}`;
  const why =
    report.mode === "split"
      ? "In split mode each image is answered by one arm: arms cannot disagree."
      : lacks("operate");
  const found = useResource(why ? null : `${path}/disagreements?limit=${limit}&unlabelled=${!all}`);
  if (why) return html`<${Section} title=${TITLE}><${Notice} tone="open">${why}<//><//>`;
  const more = list(found.value ?? {}, "disagreements").length === limit ? () => setLimit(2 * limit) : null;
  return html`
    <${Section} title=${TITLE} note="Only the labels of these images can change the comparison.">
      <div class="choices">
        <label class="switch"><input type="checkbox" checked=${!all}
          onChange=${(/** @type {any} */ event) => set({ unlabelled: event.target.checked ? null : "no" })} />
          unlabelled only</label>
        <button type="button" onClick=${found.reload}>Fetch them again</button>
        <${Downloads} files=${[
          {
            path: `${path}/disagreements.csv`,
            name: `${name}-disagreements.csv`,
            title: "Save them all (CSV)",
          },
        ]} />
      </div>
      <${Loaded} of=${found} what="disagreements">${(/** @type {Json} */ { disagreements }) => html`
        <${Label} path=${path} rows=${disagreements} report=${report} labels=${labels} onLabelled=${onLabelled}
          all=${all} more=${more} />`}<//>
    <//>`;
}

/**
 * @param {{path: string, rows: Json[], report: Json, labels: string[], all: boolean, onLabelled: () => void,
 *   more: (() => void) | null}} props
 */
function Label({ path, rows, report, labels, all, onLabelled, more }) {
  const queue = useQueue(path, rows, onLabelled);
  const { current, left, said, error, busy } = queue;
  const image = (/** @type {Json} */ row) =>
    row.image_kept ? `${path}/images/${segment(row.prediction)}/${segment(String(row.item))}` : "";
  return html`
    <p role="status"><b>${left}${more ? " or more" : ""}</b> left to label. ${said}</p>
    ${error ? html`<${Problem} error=${error} />` : null}
    ${
      current
        ? html`<${Workbench} row=${current} image=${image(current)} labels=${labels} busy=${busy}
            onLabel=${queue.label} onSkip=${queue.skip} />`
        : html`<${Done} left=${left} all=${all} again=${queue.again} />`
    }
    <${Rows} rows=${rows} report=${report} image=${image} queue=${queue} />
    ${more ? html`<button type="button" onClick=${more}>Fetch more from the gateway</button>` : null}`;
}

/** @param {{left: number, all: boolean, again: () => void}} props */
function Done({ left, all, again }) {
  if (left > 0) {
    return html`<${Notice} tone="open"><p>The others were skipped.</p>
      <button type="button" onClick=${again}>Go through the skipped ones</button><//>`;
  }
  return html`<${Notice} tone="good"><p>No disagreement waits for a label.</p>${
    all ? null : html`<button type="button" onClick=${() => set({ unlabelled: "no" })}>See all disagreements</button>`
  }<//>`;
}

/**
 * @param {{rows: Json[], report: Json, image: (row: Json) => string, queue: ReturnType<typeof useQueue>}} props
 */
function Rows({ rows, report, image, queue }) {
  const { shown, more } = useBeginning(rows, STEP, "images");
  const label = (/** @type {Json} */ row) => {
    const receipt = queue.receipts[keyOf(row)];
    const text = row.label ?? (receipt && NOTED.includes(receipt.status) ? receipt.label : "");
    if (text) return html`<bdi>${text}</bdi>`;
    if (receipt) return html`<span class="note">${receipt.message}</span>`;
    return html`<button type="button" onClick=${() => queue.choose(keyOf(row))}>Label this</button>`;
  };
  /** @type {import("../../lib/ui.js").Column[]} */
  const columns = [
    {
      title: "Image",
      cell: (row) =>
        image(row)
          ? html`<${Picture} path=${image(row)} name=${`Image ${row.item} of ${row.prediction}`} />`
          : "not kept",
    },
    { title: "When", cell: (row) => time(row.at) },
    ...list(report, "arms").map(({ name }) => ({
      title: `${name} said`,
      cell: (/** @type {Json} */ row) => Answer(row, name),
    })),
    { title: "Label", cell: label },
  ];
  return html`
    <${Table} caption="What each arm said, with its probability" columns=${columns} rows=${shown} rowKey=${keyOf}
      empty="" />
    ${more}`;
}

/** @param {Json} row @param {string} arm */
function Answer(row, arm) {
  const said = row.answers[arm];
  if (!said?.label) return html`<span class="quiet">no answer</span>`;
  const right = row.label
    ? html`<span class=${`state ${row.label === said.label ? "good" : "bad"}`}>${
        row.label === said.label ? "✓ right" : "✕ wrong"
      }</span>`
    : null;
  return html`<b><bdi>${said.label}</bdi></b> <span class="quiet">${share(said.confidence)}</span> ${right}`;
}
