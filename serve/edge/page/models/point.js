// The dialog that makes an alias, or points it elsewhere; it says from where to where.

import { segment, send, useResource } from "../lib/api.js";
import { Confirm, Field } from "../lib/dialog.js";
import { Problem } from "../lib/ui.js";
import { html, useId, useState } from "../vendor/vendor.js";
import { address } from "./facts.js";

/** @typedef {import("./facts.js").Model} Model */
/** @typedef {import("./aliases.js").Alias} Alias */

/**
 * @param {{name?: string, target?: string, all: Model[], onClose: () => void, done: (what: string) => void,
 *   aliases: ReturnType<typeof import("./aliases.js").useAliases>}} props `name` of the alias that is to be moved, or
 *   else it is asked for; `target` is offered first
 */
export function PointDialog({ name: given, target: first = "", all, aliases, onClose, done }) {
  const [typed, setTyped] = useState("");
  const [target, setTarget] = useState(first);
  const name = given ?? typed.trim();
  /** @type {Alias | undefined} */
  const before = aliases.value?.aliases.find((/** @type {Alias} */ alias) => alias.name === name);
  const run = async (/** @type {string} */ reason) => {
    try {
      const ifMatch = `"${before?.version ?? 0}"`;
      await send("PUT", `v1/aliases/${segment(name)}`, { target, reason }, { ifMatch });
    } catch (refused) {
      aliases.reload(); // somebody else may have moved it
      throw refused;
    }
    done(`The alias ${name} points to ${target}.`);
  };
  return html`
    <${Confirm} title=${given ? `Move the alias ${given}` : "Point an alias"} act=${before ? "Move it" : "Make it"} reason
      onClose=${onClose} run=${run}>
      ${given ? null : html`<${NameField} typed=${typed} type=${setTyped} known=${aliases.value?.aliases ?? []} />`}
      <${TargetField} target=${target} choose=${setTarget} all=${all} />
      ${name && target ? html`<p class="change"><${Change} name=${name} before=${before?.target} target=${target} /></p>` : null}
    <//>`;
}

/** @param {{name: string, before: string | undefined, target: string}} props */
function Change({ name, before, target }) {
  if (before === undefined) return html`<b>${name}</b> is new; calls to it will be answered by <b>${target}</b>.`;
  if (before === target) return html`<b>${name}</b> points to <b>${target}</b> already; nothing changes.`;
  return html`Calls to <b>${name}</b> are answered by <b>${before}</b> now, and will be by <b>${target}</b>.`;
}

/** @param {{typed: string, type: (name: string) => void, known: Alias[]}} props */
function NameField({ typed, type, known }) {
  const list = useId();
  return html`
    <${Field} label="Alias" hint="A new name, or one that is there and is to move.">${(
      /** @type {Record<string, unknown>} */ attributes,
    ) => html`
      <input ...${attributes} list=${list} required maxlength="64" autocomplete="off" spellcheck=${false} value=${typed}
        onInput=${(/** @type {any} */ event) => type(event.target.value)} />
      <datalist id=${list}>${known.map(({ name }) => html`<option key=${name} value=${name} />`)}</datalist>`}<//>`;
}

/** @param {{target: string, choose: (target: string) => void, all: Model[]}} props */
function TargetField({ target, choose, all }) {
  const experiments = useResource("v1/experiments");
  /** @type {{name: string, state: string}[]} */
  const known = experiments.value?.experiments ?? [];
  const live = known.filter(({ state }) => ["running", "paused"].includes(state));
  const groups = [
    { title: "Models, in their default version", targets: [...new Set(all.map(({ name }) => name))] },
    { title: "Versions", targets: all.filter(({ version }) => version).map(address) },
    { title: "Experiments that are live", targets: live.map(({ name }) => name) },
  ];
  const offered = groups.some(({ targets }) => targets.includes(target));
  return html`
    <${Field} label="Points to">${(/** @type {Record<string, unknown>} */ attributes) => html`
      <select ...${attributes} required value=${target} onChange=${(/** @type {any} */ event) => choose(event.target.value)}>
        ${offered ? null : html`<option value=${target}>${target || "Choose one"}</option>`}
        ${groups
          .filter(({ targets }) => targets.length)
          .map(
            ({ title, targets }) => html`
          <optgroup key=${title} label=${title}>
            ${targets.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
          </optgroup>`,
          )}
      </select>`}<//>
    ${experiments.error ? html`<${Problem} error=${experiments.error} />` : null}`;
}
