// The top of a report: the verdict in one sentence, the rule that it follows, and the figures behind it.

import { NOTHING } from "../../lib/format.js";
import { Table, Tile } from "../../lib/ui.js";
import { html } from "../../vendor/vendor.js";
import { count, evidence, known, measure, rounded, setting } from "./figures.js";
import { list, startOf } from "./parts.js";
import { badgeOf, METRICS, word } from "./words.js";

/** @typedef {import("./figures.js").Json} Json */

/** Of more compared arms the sentence has too many words for large letters. */
const FEW = 3;
const DAY = 86_400;
const HOUR = 3600;
/** Metrics whose margin is one of percentage points; of the others it is a share. */
const IN_POINTS = ["accuracy", "error_rate"];

/** @param {{report: Json}} props */
export function Verdict({ report }) {
  const badge = badgeOf(report.verdict);
  const comparisons = list(report, "comparisons");
  return html`
    <section class=${`card verdict ${badge.tone}`} aria-labelledby="verdict">
      <h2 id="verdict"><span aria-hidden="true">${badge.sign}</span> ${badge.text}</h2>
      <p class=${comparisons.length > FEW ? "sentence long" : "sentence"}><bdi>${report.sentence || badge.meaning}</bdi></p>
      <p class="note">${rule(report)}</p>
      <div class="tiles">${tiles(report).map(
        ({ name, value, meaning }) => html`
        <${Tile} key=${name} name=${html`<bdi>${name}</bdi>`} value=${value} note=${meaning} />`,
      )}</div>
      ${comparisons.length > 1 ? html`<${Standings} comparisons=${comparisons} />` : null}
    </section>`;
}

/** @param {{comparisons: Json[]}} props */
function Standings({ comparisons }) {
  const columns = [
    { title: "Arm", head: true, cell: (/** @type {Json} */ { arm }) => html`<bdi>${arm}</bdi>` },
    { title: "Verdict", cell: (/** @type {Json} */ { verdict }) => Small(verdict) },
    { title: "Estimate", number: true, cell: (/** @type {Json} */ { row }) => measure(row).one(row.estimate) },
    { title: "Interval", number: true, cell: (/** @type {Json} */ { row }) => measure(row).span(row.low, row.high) },
    { title: "e-value", number: true, cell: (/** @type {Json} */ { row }) => evidence(row.log_e) },
    { title: "In words", cell: (/** @type {Json} */ { sentence }) => html`<bdi>${sentence}</bdi>` },
  ];
  return html`<${Table} caption="Verdict on each arm, against the control. Alpha is shared among the arms."
    columns=${columns} rows=${comparisons} rowKey=${(/** @type {Json} */ { arm }) => arm} />`;
}

/** @param {unknown} verdict */
function Small(verdict) {
  const { tone, sign, text } = badgeOf(verdict);
  return html`<span class=${`state ${tone}`}><span aria-hidden="true">${sign}</span> ${text}</span>`;
}

/** The e-value at which a difference is decided: alpha is shared among the compared arms. @param {Json} report */
function neededE(report) {
  return known(report.alpha) && report.alpha ? Math.max(1, list(report, "comparisons").length) / report.alpha : null;
}

/** @param {Json} report @returns {string} */
function rule(report) {
  const { alpha, margin, primary_metric: metric } = report;
  const needed = neededE(report);
  const compared = list(report, "comparisons").length;
  if (!known(margin) || needed === null) return "";
  const shared = compared > 1 ? `, shared by ${compared} arms` : "";
  const within = `${setting(100 * margin)} ${IN_POINTS.includes(metric) ? "points" : "%"}`;
  return (
    `Decision rule, fixed before the start: ${word(METRICS, metric, metric)} decides. Better or worse once the ` +
    `e-value reaches ${setting(needed)} (a false verdict in at most ${setting(100 * alpha)} % of experiments` +
    `${shared}). No difference once the whole interval lies within ±${within}.`
  );
}

/** @param {Json} report @returns {{name: string, value: string, meaning: string}[]} */
function tiles(report) {
  const comparisons = list(report, "comparisons");
  const units = Math.max(0, ...comparisons.map((found) => found.units ?? 0));
  const started = startOf(report);
  const took = { name: "Units that took part", value: count(units), meaning: `${count(report.planned_units)} planned` };
  const since = {
    name: "Since the start",
    value: lasting(report.at - (started ?? 0)),
    meaning: `now ${String(report.state).replaceAll("_", " ")}`,
  };
  return [
    ...(comparisons.length === 1 ? effect(report, comparisons[0].row) : []),
    ...(comparisons.length && report.planned_units ? [took] : []),
    ...(started === null ? [] : [since]),
  ];
}

/** @param {Json} report @param {Json} row */
function effect(report, row) {
  const written = measure(row);
  const pairing = row.against ? `${row.arm} ${row.kind === "share" ? "and" : "against"} ${row.against}` : row.arm;
  const sure = setting(100 - 100 * (row.alpha ?? 0));
  return [
    {
      name: `${row.title || "Difference"}: ${pairing}`,
      value: written.one(row.estimate),
      meaning: `${sure} % interval: ${written.span(row.low, row.high)}`,
    },
    { name: "Evidence (e-value)", value: evidence(row.log_e), meaning: `${setting(neededE(report))} decides` },
  ];
}

/** @param {number} seconds less than none where the start is still to come @returns {string} */
function lasting(seconds) {
  if (seconds < 0) return NOTHING;
  return seconds < 2 * DAY ? `${rounded(seconds / HOUR, 1)} hours` : `${rounded(seconds / DAY, 1)} days`;
}
