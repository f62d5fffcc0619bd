// Load, unload, point an alias here: each is asked again, with a reason.

import { segment, send, useResource } from "../lib/api.js";
import { Confirm } from "../lib/dialog.js";
import { useSession } from "../lib/session.js";
import { Loaded, Notice } from "../lib/ui.js";
import { html, useState } from "../vendor/vendor.js";
import { PointDialog } from "./point.js";

/** @typedef {import("./facts.js").Model} Model */

/**
 * @param {{name: string, versions: Model[], target: string, all: Model[],
 *   aliases: ReturnType<typeof import("./aliases.js").useAliases>, done: (what: string) => void}} props `target` is
 *   what an alias would point to; `done` hears what has been done
 */
export function Acts({ name, versions, target, all, aliases, done }) {
  const session = useSession();
  const [open, setOpen] = useState("");
  const off = !session.can("operate");
  // What was closed before it was done must not close another one in the end.
  const close = (/** @type {string} */ id) => () => setOpen((last) => (last === id ? "" : last));
  const served = versions.some(({ state }) => state === "READY");
  const offers = [
    { id: "load", title: "Load…", said: `Load ${name}`, disabled: off },
    ...(served ? [{ id: "unload", title: "Unload…", said: `Unload ${name}`, disabled: off }] : []),
    ...(session.me.experiments
      ? [{ id: "alias", title: "Point an alias here…", said: `Point an alias to ${target}`, disabled: off }]
      : []),
  ];
  return html`
    <div class="actions">
      ${offers.map(
        ({ id, title, said, disabled }) => html`
        <button key=${id} type="button" aria-label=${said} disabled=${disabled}
          aria-describedby=${disabled ? "lacks" : undefined} onClick=${() => setOpen(id)}>${title}</button>`,
      )}
    </div>
    ${open === "load" ? html`<${Load} name=${name} onClose=${close("load")} done=${done} />` : null}
    ${open === "unload" ? html`<${Unload} name=${name} onClose=${close("unload")} done=${done} />` : null}
    ${
      open === "alias"
        ? html`<${PointDialog} target=${target} all=${all} aliases=${aliases} onClose=${close("alias")} done=${done} />`
        : null
    }`;
}

/** @param {{name: string, onClose: () => void, done: (what: string) => void}} props */
function Load({ name, onClose, done }) {
  return html`
    <${Confirm} title=${`Load ${name}?`} act="Load" reason onClose=${onClose} run=${changing(name, "load", done)}>
      <p>Every archive of that name in the model store is loaded, and proven by its own samples. Versions that are
        served already stay as they are.</p>
    <//>`;
}

/** @param {{name: string, onClose: () => void, done: (what: string) => void}} props */
function Unload({ name, onClose, done }) {
  return html`
    <${Confirm} title=${`Unload ${name}?`} act="Unload" reason dangerous onClose=${onClose}
      run=${changing(name, "unload", done)}>
      <p>All its versions go, once they have answered what waits for them; later calls to it are refused. It stays in
        the model store, and can be loaded again.</p>
      ${useSession().me.experiments ? html`<${Dependents} name=${name} />` : null}
    <//>`;
}

/** @param {string} name @param {"load" | "unload"} act @param {(what: string) => void} done */
function changing(name, act, done) {
  return async (/** @type {string} */ reason) => {
    await send("POST", `v2/repository/models/${segment(name)}/${act}`, { parameters: { reason } });
    done(`${name} was ${act}ed.`);
  };
}

/** Who calls a model by another name. @param {{name: string}} props */
function Dependents({ name }) {
  const aliases = useResource("v1/aliases");
  const experiments = useResource("v1/experiments");
  return html`
    <${Loaded} of=${aliases} what="its aliases">${(/** @type {any} */ { aliases: all }) => html`
      <${Loaded} of=${experiments} what="its experiments">${(/** @type {any} */ { experiments: known }) => html`
        <${Warning} uses=${[...aliasesOf(name, all), ...experimentsOf(name, known)]} />`}<//>`}<//>`;
}

/** @param {{uses: string[]}} props */
function Warning({ uses }) {
  if (uses.length === 0) return html`<p>No alias and no experiment uses it.</p>`;
  return html`
    <${Notice} tone="warn">
      <div>
        <p><span class="sign" aria-hidden="true">!</span> <b>In use.</b> This ends, or falls back on another arm:</p>
        <ul>${uses.map((use) => html`<li key=${use}>${use}</li>`)}</ul>
      </div>
    <//>`;
}

/** @param {string} name @param {import("./aliases.js").Alias[]} aliases @returns {string[]} */
function aliasesOf(name, aliases) {
  return aliases
    .filter(({ target }) => target === name || target.startsWith(`${name}:`))
    .map((alias) => `calls to the alias “${alias.name}”, which points to ${alias.target}`);
}

/** @param {string} name @param {any[]} experiments @returns {string[]} */
function experimentsOf(name, experiments) {
  return experiments.flatMap(({ name: called, state, arms, winner }) => {
    if (state === "draft") return [];
    if (["running", "paused"].includes(state)) {
      const mine = arms.filter((/** @type {any} */ arm) => arm.model === name);
      return mine.map(
        (/** @type {any} */ arm) => `the arm “${arm.name}” of the experiment “${called}”, which is ${state}`,
      );
    }
    // Who calls an experiment that has ended gets its winner, or its control, the first arm.
    const standing = arms.find((/** @type {any} */ arm) => arm.name === winner) ?? arms[0];
    return standing.model === name ? [`calls to the experiment “${called}”, which has ended and left them to it`] : [];
  });
}
