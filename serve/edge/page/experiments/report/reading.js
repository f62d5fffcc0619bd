// How to read the report: what the words mean, and every metric's definition.

import { Section } from "../../lib/ui.js";
import { html } from "../../vendor/vendor.js";
import { begun } from "./figures.js";
import { definitionOf, groupsOf, methodsOf } from "./metrics.js";
import { list } from "./parts.js";

/** @typedef {import("./figures.js").Json} Json */

/** @param {{report: Json}} props */
export function Reading({ report }) {
  const rows = list(report, "rows");
  return html`
    <${Section} title="How to read this" class="prose">
      <p><b>Look as often as you like.</b> An interval of this page covers the truth with the stated certainty at all
        looks together, so nobody has to wait for a planned end, and nobody is misled by stopping early. The price is a
        wider interval than the classical one, which is right for a single look only.</p>
      <p><b>The e-value</b> is evidence against “no difference”: at 20, a fair bettor against it would have turned 1
        into 20. Under no difference it ever reaches 20 in at most one of 20 experiments. The p-value is 1 divided by
        it, and at most 1.</p>
      <p><b>Winner's curse.</b> An estimate that is read at the moment at which it convinces is, on average, too large.
        Plan with the interval, not with its middle.</p>
      <p><b>No difference that matters</b> means that the whole interval lies within the margin. <b>Undecided</b> does
        not mean equal.</p>
      <p class="note">A point is a percentage point: from 90 % to 91 % is one point. A unit is whoever or whatever gets
        one arm for good, for instance a user; units are kept as keyed hashes only. All times are in your zone; hover
        over one to see it in UTC.</p>
      ${list(report, "notes").length ? html`<h3>Of these figures</h3>` : null}
      <ul class="note">${list(report, "notes").map((note) => html`<li><bdi>${note}</bdi></li>`)}</ul>
    <//>
    <${Section} title="Definitions" class="prose">
      <dl>${groupsOf(rows).map(
        ([row]) => html`<dt key=${row.metric}>${row.title}</dt><dd>${definitionOf(row)}</dd>`,
      )}</dl>
    <//>
    <${Section} title="Methods" class="prose">
      <dl>${methodsOf(rows).map(([name, why]) => html`<dt>${begun(name)}</dt><dd>${why}</dd>`)}</dl>
    <//>`;
}
