// Whether the comparison can be trusted: what is wrong comes first and says all; what is fine is short.

import { Section } from "../../lib/ui.js";
import { html } from "../../vendor/vendor.js";
import { begun } from "./figures.js";
import { list, Nothing, State } from "./parts.js";
import { alertOf } from "./words.js";

/** @typedef {import("./figures.js").Json} Json */
/** @typedef {{title: string, definition: string, state: string, lines: Json[]}} Check */

const WORST_FIRST = ["broken", "warn", "", "ok"];

/** The checks with the arms of each together. @param {Json[]} rows @returns {Check[]} */
export function checks(rows) {
  /** @type {Map<string, Json[]>} */
  const groups = new Map();
  for (const row of rows) groups.set(row.check, [...(groups.get(row.check) ?? []), row]);
  return [...groups.values()]
    .map((lines) => ({
      title: lines[0].title,
      definition: lines[0].definition,
      state: WORST_FIRST[Math.min(...lines.map(({ state }) => rank(state)))],
      lines,
    }))
    .sort((one, other) => rank(one.state) - rank(other.state));
}

/** @param {string} state */
function rank(state) {
  return WORST_FIRST.includes(state) ? WORST_FIRST.indexOf(state) : WORST_FIRST.indexOf("");
}

/** @param {{report: Json}} props */
export function HealthChecks({ report }) {
  const found = checks(list(report, "health"));
  const note = "These checks come first: while one of them is broken, no difference below means anything.";
  return html`
    <${Section} title="Can the comparison be trusted?" note=${note}>
      ${
        found.length
          ? html`<ul class="checks">${found.map((check) => html`<${One} key=${check.title} check=${check} />`)}</ul>`
          : html`<${Nothing}>Sample ratio, label coverage, losses and units in several arms are checked once units
            have arrived.<//>`
      }
    <//>`;
}

/** @param {{check: Check}} props */
function One({ check }) {
  const { title, state, lines, definition } = check;
  const found = lines.map(({ arm, words }) =>
    arm ? html`<p><b><bdi>${arm}</bdi></b>: <bdi>${words}</bdi></p>` : html`<p><bdi>${begun(words)}</bdi></p>`,
  );
  return html`
    <li class=${alertOf(state).tone}>
      <h3>${title}</h3>
      <p><${State} of=${state} /></p>
      ${
        state === "ok"
          ? html`<details><summary>Figures<span class="unseen"> of ${title}</span></summary>
              <div>${found}<p class="note">${definition}</p></div></details>`
          : html`${found}<p class="note">${definition}</p>`
      }
    </li>`;
}
