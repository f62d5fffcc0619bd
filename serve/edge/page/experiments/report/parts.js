// What the tabs of a report share.

import { blob } from "../../lib/api.js";
import { save } from "../../lib/save.js";
import { Problem } from "../../lib/ui.js";
import { html, useState } from "../../vendor/vendor.js";
import { alertOf } from "./words.js";

/** @typedef {import("../../vendor/vendor.js").ComponentChildren} Children */
/** @typedef {import("./figures.js").Json} Json */

/** The state of a check or a guardrail: a sign and words, then colour. @param {{of: unknown}} props */
export function State({ of }) {
  const { text, tone, sign } = alertOf(of);
  return html`<span class=${`state ${tone}`}><span aria-hidden="true">${sign}</span> ${text}</span>`;
}

/** @param {{children?: Children}} props why there is nothing */
export function Nothing({ children }) {
  return html`<p class="note">No data yet. ${children}</p>`;
}

/** A list in an answer, also where it is missing. @param {Json} document @param {string} key @returns {Json[]} */
export function list(document, key) {
  return Array.isArray(document[key]) ? document[key] : [];
}

/** When the experiment was started, in Unix seconds. @param {Json} report @returns {number | null} */
export function startOf(report) {
  return list(report, "history").find(({ act }) => act === "start")?.effective_at ?? null;
}

/**
 * The beginning of a long list, and a button for more of it.
 *
 * @template T
 * @param {T[]} rows @param {number} step @param {string} what
 * @returns {{shown: T[], more: Children}}
 */
export function useBeginning(rows, step, what) {
  const [most, setMost] = useState(step);
  const shown = rows.slice(0, most);
  const left = rows.length - shown.length;
  const next = Math.min(left, Math.max(step, most));
  const more = html`
    <div class="more">
      <span role="status">${rows.length > step ? `${shown.length} of ${rows.length} ${what} are shown.` : ""}</span>
      ${left > 0 ? html`<button type="button" onClick=${() => setMost(most + next)}>Show ${next} more</button>` : null}
    </div>`;
  return { shown, more };
}

/**
 * A choice that stands in the address.
 *
 * @param {{label: string, value: string, options: [string, string][], choose: (value: string) => void}} props values
 *   and their names
 */
export function Choice({ label, value, options, choose }) {
  return html`
    <label class="choice">${label}
      <select value=${value} onChange=${(/** @type {any} */ event) => choose(event.target.value)}>
        ${options.map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}
      </select>
    </label>`;
}

/**
 * Buttons that save files: the token goes along in a header, which a link could not do.
 *
 * @param {{files: {path: string, name: string, title: string}[], why?: string}} props `why` nothing can be saved
 */
export function Downloads({ files, why = "" }) {
  const [busy, setBusy] = useState("");
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  /** @param {{path: string, name: string}} file */
  const fetched = async ({ path, name }) => {
    setBusy(path);
    setError(null);
    try {
      save(await blob(path), name);
    } catch (refused) {
      setError(/** @type {Error} */ (refused));
    }
    setBusy("");
  };
  return html`
    <div class="actions downloads">
      ${files.map(
        (file) => html`
        <button type="button" key=${file.path} disabled=${Boolean(why) || busy !== ""} title=${why || undefined}
          onClick=${() => fetched(file)}>${busy === file.path ? "Fetching…" : file.title}</button>`,
      )}
      ${why ? html`<span class="note">${why}</span>` : null}
    </div>
    ${error ? html`<${Problem} error=${error} />` : null}`;
}
