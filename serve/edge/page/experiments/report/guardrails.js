// What must not get worse.

import { Section } from "../../lib/ui.js";
import { Fragment, html } from "../../vendor/vendor.js";
import { begun, count, decimal, evidence, setting } from "./figures.js";
import { list, Nothing, State } from "./parts.js";

/** @typedef {import("./figures.js").Json} Json */

const NOTE =
  "What must not get worse. When one trips, the gateway goes back to the control by itself. “No proof of harm” is " +
  "not a proof of no harm.";
const HEADS = ["Arm", "Control", "Ratio (allowed)", "e-value (trips at)"];

/** @param {{report: Json}} props */
export function Guardrails({ report }) {
  const rows = list(report, "guardrails");
  if (rows.length === 0) {
    return html`
      <${Section} title="Guardrails">${
        list(report.design ?? {}, "guardrails").length
          ? html`<${Nothing}>Guardrails are watched from the start on.<//>`
          : html`<p class="note">This experiment was designed without guardrails.</p>`
      }<//>`;
  }
  return html`
    <${Section} title="Guardrails" note=${NOTE}>
      <div class="scroll" role="region" aria-label="Guardrails" tabindex="0">
        <table>
          <caption>Each guardrail of each arm: its rate may be so many times the control's.</caption>
          <thead><tr><th scope="col">Guardrail</th><th scope="col">Arm</th><th scope="col">State</th>
            ${HEADS.map((head) => html`<th scope="col" class="number">${head}</th>`)}</tr></thead>
          <tbody>${rows.map((row) => html`<${Line} key=${`${row.title} ${row.arm}`} row=${row} />`)}</tbody>
        </table>
      </div>
    <//>`;
}

/** @param {{row: Json}} props */
function Line({ row }) {
  return html`
    <${Fragment}>
      <tr><th scope="row">${row.title}</th><td><bdi>${row.arm}</bdi></td><td><${State} of=${row.state} /></td>
        <td class="number">${count(row.arm_events)} of ${count(row.arm_n)}</td>
        <td class="number">${count(row.control_events)} of ${count(row.control_n)}</td>
        <td class="number">${decimal(row.ratio)} (${setting(row.max_ratio)})</td>
        <td class="number">${evidence(row.log_e)} (${evidence(row.threshold)})</td></tr>
      <tr class="aside"><td colspan="7"><bdi>${begun(row.words)}</bdi>. ${row.definition}</td></tr>
    <//>`;
}
