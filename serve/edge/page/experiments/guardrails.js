// What must not get worse: the guardrails of a new experiment.

import { Section } from "../lib/ui.js";
import { html } from "../vendor/vendor.js";
import { newGuard } from "./design.js";
import { GroupError, Input, Select, useForm } from "./form.js";
import { saidUnder } from "./refusal.js";

/** @typedef {import("./design.js").GuardForm} GuardForm */

const OWN = /^guardrails\.\d+\.(metric|threshold_ms|max_ratio|alpha)$/;
/** @type {[string, string][]} */
const METRICS = [
  ["error_rate", "Error rate: calls that fail"],
  ["slo_exceedance", "Slow calls: those over a limit"],
];
const NOTE =
  "What must not get worse. The gateway looks at it all the time, and rolls the experiment back by itself when an arm " +
  "breaks one. The limit is so many times the control’s rate; a false rollback is one that chance alone brings.";

export function Guardrails() {
  const { form, change, errors } = useForm();
  const { guardrails } = form;
  /** @param {number} at @param {Partial<GuardForm>} changes */
  const edit = (at, changes) =>
    change({ guardrails: guardrails.map((one, other) => (other === at ? { ...one, ...changes } : one)) });
  /** @param {number} at */
  const remove = (at) => change({ guardrails: guardrails.filter((_, other) => other !== at) });
  const other = guardrails.some(({ metric }) => metric === "error_rate") ? "slo_exceedance" : "error_rate";
  const add = () => change({ guardrails: [...guardrails, newGuard(other)] });
  return html`
    <${Section} title="Guardrails" note=${NOTE}>
      ${guardrails.length ? null : html`<p>None: nothing is rolled back by itself.</p>`}
      <ol class="guards">
        ${guardrails.map(
          (guard, at) => html`
          <${Guard} key=${guard.key} guard=${guard} at=${at} remove=${() => remove(at)}
            edit=${(/** @type {Partial<GuardForm>} */ changes) => edit(at, changes)} />`,
        )}
      </ol>
      <${GroupError} said=${saidUnder(errors, "guardrails", OWN)} />
      <button type="button" onClick=${add}>Add a guardrail</button>
    <//>`;
}

/** @param {{guard: GuardForm, at: number, edit: (changes: Partial<GuardForm>) => void, remove: () => void}} props */
function Guard({ guard, at, edit, remove }) {
  const slow = guard.metric === "slo_exceedance";
  const path = `guardrails.${at}`;
  return html`
    <li>
      <fieldset>
        <legend>Guardrail ${at + 1}</legend>
        <${Select} at=${`${path}.metric`} label="What is watched" value=${guard.metric} options=${METRICS}
          set=${(/** @type {string} */ metric) => edit({ metric, threshold_ms: guard.threshold_ms || "200" })} />
        ${
          slow
            ? html`<${Input} at=${`${path}.threshold_ms`} label="Slow from (ms)" value=${guard.threshold_ms} step="any" min="0"
              set=${(/** @type {string} */ threshold_ms) => edit({ threshold_ms })} />`
            : null
        }
        <${Input} at=${`${path}.max_ratio`} label="Limit (× control)" value=${guard.max_ratio} step="any"
          min="1" set=${(/** @type {string} */ max_ratio) => edit({ max_ratio })} />
        <${Input} at=${`${path}.alpha`} label="False rollback (%)" value=${guard.alpha} step="any" min="0"
          max="100" set=${(/** @type {string} */ alpha) => edit({ alpha })} />
        <button type="button" aria-label=${`Remove guardrail ${at + 1}`} onClick=${remove}>Remove</button>
      </fieldset>
    </li>`;
}
