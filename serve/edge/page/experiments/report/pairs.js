// The same image, both arms: who was right.

import { segment } from "../../lib/api.js";
import { useSession } from "../../lib/session.js";
import { Section } from "../../lib/ui.js";
import { html } from "../../vendor/vendor.js";
import { count, measure } from "./figures.js";
import { Downloads, list, Nothing } from "./parts.js";

/** @typedef {import("./figures.js").Json} Json */

const NOTE =
  "The first image of each unit that both arms answered. Only the two highlighted fields can tell the arms apart: " +
  "there one was right and the other wrong.";

/** @param {{report: Json, name: string}} props */
export function Pairs({ report, name }) {
  const tables = list(report, "pair_tables");
  if (tables.length === 0) {
    return html`
      <${Section} title="The same image, both arms">${
        report.mode === "split"
          ? html`<p class="note">In split mode each image is answered by one arm; there are no pairs.</p>`
          : html`<${Nothing}>Pairs appear once both arms have answered the same image.<//>`
      }<${Raw} name=${name} /><//>`;
  }
  return html`
    <${Section} title="The same image, both arms" note=${NOTE}>
      ${tables.map((table) => html`<${Cross} key=${table.arm} table=${table} control=${report.control} />`)}
    <//>
    <${Rates} rows=${list(report, "rows").filter(({ kind }) => kind === "share")} />
    <${Section} title="Every image that was answered"><${Raw} name=${name} /><//>`;
}

/** @param {{table: Json, control: string}} props */
function Cross({ table, control }) {
  const label = `Pairs of ${table.arm} and ${control} by who was right`;
  return html`
    <div class="scroll" role="region" aria-label=${label} tabindex="0">
      <table class="cross">
        <caption>Pairs with a known label, by who was right.</caption>
        <thead><tr><td></td>
          <th scope="col"><bdi>${table.arm}</bdi> right</th>
          <th scope="col"><bdi>${table.arm}</bdi> wrong</th></tr></thead>
        <tbody>
          <tr><th scope="row">Control <bdi>${control}</bdi> right</th>
            <td>${count(table.both_right)}</td><td class="telling">${count(table.control_right)}</td></tr>
          <tr><th scope="row">Control <bdi>${control}</bdi> wrong</th>
            <td class="telling">${count(table.arm_right)}</td><td>${count(table.both_wrong)}</td></tr>
        </tbody>
      </table>
    </div>
    <p>${meaning(table, control)}</p>
    <p class="note">Without a known label: ${count(table.unlabelled_alike)} pairs that were answered alike, which cannot
      change the comparison, and ${count(table.unlabelled_different)} that were answered differently. Labels for these
      are worth the most.</p>`;
}

/** @param {Json} table @param {string} control */
function meaning({ arm, arm_right: won, control_right: lost }, control) {
  if (won + lost === 0) return "No pair with a known label tells the arms apart yet.";
  return html`Of the ${count(won + lost)} pairs that tell the arms apart, <b><bdi>${arm}</bdi></b> alone was right
    in ${count(won)} and <b><bdi>${control}</bdi></b> alone in ${count(lost)}.`;
}

/** How often the arms answered differently. @param {{rows: Json[]}} props */
function Rates({ rows }) {
  if (rows.length === 0) return null;
  return html`
    <${Section} title=${rows[0].title} note=${rows[0].definition}>
      <ul class="plain">${rows.map((row) => {
        const written = measure(row);
        return html`<li key=${row.arm}><bdi>${row.arm}</bdi> and <bdi>${row.against}</bdi>:${" "}
          <b>${written.one(row.estimate)}</b>${" "}
          (interval ${written.span(row.low, row.high)}, from ${count(row.n)} ${row.n_of})</li>`;
      })}</ul>
    <//>`;
}

/** @param {{name: string}} props */
function Raw({ name }) {
  const { lacks } = useSession();
  const path = `v1/experiments/${segment(name)}/pairs`;
  return html`<${Downloads} why=${lacks("operate")} files=${[
    { path: `${path}.csv`, name: `${name}-pairs.csv`, title: "Save the raw pairs (CSV)" },
    { path: `${path}.parquet`, name: `${name}-pairs.parquet`, title: "Save the raw pairs (Parquet)" },
  ]} />`;
}
