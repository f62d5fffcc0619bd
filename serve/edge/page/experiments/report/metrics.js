// All metrics: a group a metric, a line an arm, each with how sure it is.

import { set } from "../../lib/route.js";
import { Section } from "../../lib/ui.js";
import { Fragment, html } from "../../vendor/vendor.js";
import { begun, count, evidence, known, measure, probability, setting } from "./figures.js";
import { list, Nothing } from "./parts.js";

/** @typedef {import("./figures.js").Json} Json */

const HALF = 60;
/** Compared arms; of more, only the one that is chosen above is shown beside the control, unless all are wanted. */
const MOST_ARMS = 3;
const WISHES = /** @type {Record<string, string>} */ ({ higher: "Higher is better.", lower: "Lower is better." });
const NAMED = /** @type {Record<string, (row: Json) => string>} */ ({
  difference: ({ arm, against }) => `${arm} − ${against}`,
  ratio: ({ arm, against }) => `${arm} ÷ ${against} − 1`,
  share: ({ arm, against }) => `${arm} and ${against}`,
});
const HEADS = ["Estimate", "Interval", "Around zero", "e-value", "p", "From", "Method"];

/** @param {Json} row a count has no uncertainty */
function inferred(row) {
  return Boolean(row.method) && row.anytime !== false;
}

/**
 * The methods of a report and why they are used, in the order in which its rows name them.
 *
 * @param {Json[]} rows @returns {[string, string][]}
 */
export function methodsOf(rows) {
  const found = new Map(
    rows
      .filter(inferred)
      .map(({ method, why }) => [`${method}\n${why}`, /** @type {[string, string]} */ ([method, why])]),
  );
  return [...found.values()];
}

/** Rows by their metric, in the report's order. @param {Json[]} rows @returns {Json[][]} */
export function groupsOf(rows) {
  /** @type {Map<string, Json[]>} */
  const groups = new Map();
  for (const row of rows) groups.set(row.metric, [...(groups.get(row.metric) ?? []), row]);
  return [...groups.values()];
}

/** What a metric is, and which way is better. @param {Json} row @returns {string} */
export function definitionOf({ definition, better }) {
  return `${definition} ${WISHES[better] ?? ""}`.trim();
}

/** @param {{report: Json, query: URLSearchParams}} props */
export function Metrics({ report, query }) {
  const compared = list(report, "comparisons").map(({ arm }) => arm);
  const most = compared.length > MOST_ARMS;
  const chosen = compared.includes(query.get("arm")) ? query.get("arm") : compared[0];
  const narrowed = most && query.get("metrics") !== "all";
  const rows = list(report, "rows").filter(({ arm }) => !narrowed || [report.control, chosen].includes(arm));
  if (rows.length === 0) {
    return html`<${Section} title="All metrics"><${Nothing}>The table fills once calls have been recorded.<//><//>`;
  }
  const methods = methodsOf(rows);
  const note =
    `An interval holds at every look with ${setting(100 - 100 * (report.alpha || 0.05))} % certainty, for each ` +
    "figure by itself. In the small pictures the line in the middle is zero: no difference.";
  return html`
    <${Section} title="All metrics" note=${note}>
      ${
        most
          ? html`<label class="switch"><input type="checkbox" checked=${!narrowed}
              onChange=${(/** @type {any} */ event) => set({ metrics: event.target.checked ? "all" : null })} />
              all arms, not only <bdi>${report.control}</bdi> and <bdi>${chosen}</bdi></label>`
          : null
      }
      <div class="scroll" role="region" aria-label="Metrics of the arms" tabindex="0">
        <table class="metrics">
          <caption>Metrics of each arm and their differences; every group begins with the metric's name, which opens
            its definition.</caption>
          <thead><tr><th scope="col">Figure</th>${HEADS.map(
            (head) => html`<th scope="col" class=${head === "Around zero" ? "mini" : "number"}>${head}</th>`,
          )}</tr></thead>
          ${groupsOf(rows).map((group) => html`<${Group} key=${group[0].metric} rows=${group} methods=${methods} />`)}
        </table>
      </div>
      <details>
        <summary>How these were found: methods and what they take for granted</summary>
        <ol class="note">${methods.map(
          ([name, why]) => html`<li key=${name + why}><b>${begun(name)}.</b> ${why}</li>`,
        )}</ol>
      </details>
    <//>`;
}

/** @param {{rows: Json[], methods: [string, string][]}} props */
function Group({ rows, methods }) {
  return html`
    <tbody>
      <tr class="group"><th colspan="8" scope="rowgroup">
        <details><summary>${rows[0].title}</summary><p>${definitionOf(rows[0])}</p></details>
      </th></tr>
      ${rows.map((row) => html`<${Line} key=${`${row.kind} ${row.arm}`} row=${row} methods=${methods} />`)}
    </tbody>`;
}

/** @param {{row: Json, methods: [string, string][]}} props */
function Line({ row, methods }) {
  const written = measure(row);
  const sure = inferred(row);
  // Nobody doubts that an arm's own figure differs from 0.
  const level = row.kind === "level";
  const method = sure ? 1 + methods.findIndex(([name, why]) => name === row.method && why === row.why) : "";
  const cells = [
    written.one(row.estimate),
    sure ? written.span(row.low, row.high) : "",
    html`<${Glyph} row=${row} />`,
    level ? "" : evidence(row.log_e),
    level ? "" : probability(row.p),
    sure ? `${count(row.n)} ${row.n_of}`.trim() : "",
    method,
  ];
  return html`
    <${Fragment}>
      <tr class="member">
        <th scope="row"><bdi>${(NAMED[row.kind] ?? (() => row.arm))(row)}</bdi></th>
        ${cells.map((cell, place) => html`<td class=${place === 2 ? "mini" : "number"}>${cell}</td>`)}
      </tr>
      ${row.note ? html`<tr class="aside"><td colspan="8"><bdi>${begun(row.note)}</bdi></td></tr>` : null}
    <//>`;
}

/** A small picture of an interval; zero is in the middle. @param {{row: Json}} props */
function Glyph({ row: { kind, low, estimate, high } }) {
  if (![low, estimate, high].every(known) || !["difference", "ratio"].includes(kind)) return null;
  const most = Math.max(Math.abs(low), Math.abs(high), Math.abs(estimate)) || 1;
  const place = (/** @type {number} */ value) => HALF + (0.92 * HALF * value) / most;
  return html`
    <svg class="glyph" viewBox="0 0 120 16" aria-hidden="true">
      <line class="zero" x1="60" y1="0" x2="60" y2="16" />
      <rect class="span" x=${place(low)} y="5.5" width=${place(high) - place(low)} height="5" rx="2.5" />
      <circle class="point" cx=${place(estimate)} cy="8" r="3.6" />
    </svg>`;
}
