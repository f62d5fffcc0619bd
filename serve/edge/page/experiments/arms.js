// The arms of a new experiment: which model answers in each, and how many units it gets.

import { number } from "../lib/format.js";
import { Section } from "../lib/ui.js";
import { html } from "../vendor/vendor.js";
import { MOST_ARMS, newArm, spread, weightSum, withNames } from "./design.js";
import { GroupError, Input, Select, useForm } from "./form.js";
import { saidUnder } from "./refusal.js";

/** @typedef {import("./design.js").ArmForm} ArmForm */

const OWN = /^arms\.\d+\.(name|model|weight)$/;
const NOTES = {
  split: "The first is the control: what there is today. Each unit gets one arm; the weights say how many get which.",
  shadow: "The first is the control: it answers everybody. The others only see what it saw.",
  paired:
    "The first is the control: it answers everybody. The others see the same images; the weights say how often each " +
    "is called first.",
};

/** @param {{cards: any[] | null}} props those of v1/models; null while they are not known */
export function Arms({ cards }) {
  const { form, change, errors } = useForm();
  const { arms, mode } = form;
  const equal = isEqual(arms);
  /** @param {ArmForm[]} next */
  const set = (next) => change({ arms: withNames(next) });
  const add = () => set(resized([...arms, newArm()], equal));
  /** @param {number} at */
  const remove = (at) => {
    const left = arms.filter((_, other) => other !== at);
    set(resized(left, equal));
  };
  /** @param {number} at @param {Partial<ArmForm>} changes */
  const edit = (at, changes) => set(arms.map((arm, other) => (other === at ? { ...arm, ...changes } : arm)));
  return html`
    <${Section} title="Arms" note=${NOTES[mode]}>
      <ol class="arms">
        ${arms.map(
          (arm, at) => html`
          <${Arm} key=${arm.key} arm=${arm} at=${at} cards=${cards} weighed=${mode !== "shadow"}
            edit=${(/** @type {Partial<ArmForm>} */ changes) => edit(at, changes)}
            remove=${at > 0 && arms.length > 2 ? () => remove(at) : null} />`,
        )}
      </ol>
      <${GroupError} said=${saidUnder(errors, "arms", OWN)} />
      <div class="actions">
        <button type="button" disabled=${arms.length >= MOST_ARMS} onClick=${add}>Add an arm</button>
        ${mode === "shadow" ? null : html`<${Weights} arms=${arms} even=${() => set(spread(arms))} />`}
      </div>
    <//>`;
}

/** @param {{arm: ArmForm, at: number, cards: any[] | null, weighed: boolean,
 *   edit: (changes: Partial<ArmForm>) => void, remove: (() => void) | null}} props */
function Arm({ arm, at, cards, weighed, edit, remove }) {
  const role = at === 0 ? "Control" : `Arm ${at + 1}`;
  return html`
    <li>
      <fieldset>
        <legend>${role}</legend>
        <${Select} at=${`arms.${at}.model`} label="Model and version" value=${arm.model} options=${offered(cards, arm.model)}
          set=${(/** @type {string} */ model) => edit({ model })} />
        <${Input} at=${`arms.${at}.name`} label="Called" value=${arm.name} maxlength="64"
          set=${(/** @type {string} */ name) => edit({ name, named: name !== "" })} />
        ${
          weighed
            ? html`<${Input} at=${`arms.${at}.weight`} label="Weight (%)" value=${arm.weight} step="0.01" min="0" max="100"
              set=${(/** @type {string} */ weight) => edit({ weight })} />`
            : null
        }
        ${remove ? html`<button type="button" aria-label=${`Remove arm ${at + 1}`} onClick=${remove}>Remove</button>` : null}
      </fieldset>
    </li>`;
}

/** @param {{arms: ArmForm[], even: () => void}} props */
function Weights({ arms, even }) {
  const sum = weightSum(arms);
  const right = sum === 100;
  return html`
    <p class=${right ? "sum" : "sum wrong"} role="status">
      ${Number.isNaN(sum) ? "A weight is no number." : `The weights sum to ${number(sum, 6)} %${right ? "" : ", they must sum to 100 %"}.`}
    </p>
    ${isEqual(arms) ? null : html`<button type="button" onClick=${even}>Make them equal</button>`}`;
}

/** What can be chosen: each model's versions, and what is chosen though it is not there. @param {any[] | null} cards
 * @param {string} chosen @returns {[string, string][]}
 */
function offered(cards, chosen) {
  /** @type {[string, string][]} */
  const known = (cards ?? []).map((card) => [
    `${card.name}:${card.version}`,
    `${card.name} version ${card.version}${card.state === "READY" ? "" : " (not ready)"}`,
  ]);
  const first = cards === null ? "Loading the models…" : "Choose a model";
  if (chosen && !known.some(([key]) => key === chosen)) known.unshift([chosen, `${chosen} (not known here)`]);
  return chosen ? known : [["", first], ...known];
}

/** @param {ArmForm[]} arms */
function isEqual(arms) {
  const even = spread(arms);
  return arms.every(({ weight }, at) => Number(weight) === Number(even[at].weight));
}

/** Arms after one came or went: equal if they were, else the control takes what the rest leaves.
 *
 * @param {ArmForm[]} arms @param {boolean} equal
 */
function resized(arms, equal) {
  if (equal) return spread(arms);
  const left = 100 - weightSum(arms.slice(1));
  return left >= 0 ? [{ ...arms[0], weight: String(Math.round(100 * left) / 100) }, ...arms.slice(1)] : arms;
}
