// The classes of a model; many can be searched.

import { Field } from "../lib/dialog.js";
import { count } from "../lib/format.js";
import { set } from "../lib/route.js";
import { Section } from "../lib/ui.js";
import { html } from "../vendor/vendor.js";

const FEW = 12;
const MOST = 200;

/** @param {{labels: string[] | null, classes: number | null, sought: string}} props */
export function Labels({ labels, classes, sought }) {
  if (!labels)
    return classes ? html`<p class="note">Its ${count(classes)} labels are too many to be listed.</p>` : null;
  const wanted = sought.toLowerCase();
  const found = labels.flatMap((label, index) => (label.toLowerCase().includes(wanted) ? [{ label, index }] : []));
  const more = found.length > MOST ? `, the first ${MOST} are shown` : "";
  return html`
    <${Section} title="Labels">
      ${labels.length > FEW ? html`<${Search} sought=${sought} />` : null}
      <p class="note" role="status">${sought ? `${count(found.length)} of ` : ""}${count(labels.length)} labels${more}</p>
      <ol class="labels" start=${found[0]?.index ?? 0}>
        ${found.slice(0, MOST).map(({ label, index }) => html`<li key=${index} value=${index}><bdi>${label}</bdi></li>`)}
      </ol>
    <//>`;
}

/** @param {{sought: string}} props */
function Search({ sought }) {
  return html`
    <${Field} label="Search the labels">${(/** @type {Record<string, unknown>} */ attributes) => html`
      <input ...${attributes} type="search" value=${sought}
        onInput=${(/** @type {any} */ event) => set({ label: event.target.value })} />`}<//>`;
}
