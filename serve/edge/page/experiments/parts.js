// The other parts of the form of a new experiment.

import { Section } from "../lib/ui.js";
import { html } from "../vendor/vendor.js";
import { fitted, metricsOf } from "./design.js";
import { Check, GroupError, Input, Select, useForm } from "./form.js";
import { saidAt, saidUnder } from "./refusal.js";

/** @typedef {import("./design.js").Form} Form */

/** @type {["split" | "shadow" | "paired", string, string][]} */
const MODES = [
  ["split", "Split", "Each unit is answered by one arm; the only mode that can compare latencies fairly."],
  ["shadow", "Shadow", "The control answers everybody, and the other arms see the same images afterwards: no risk."],
  ["paired", "Paired", "The control answers, all arms see the same image at the same time: fewest images are needed."],
];
/** @type {Record<string, string>} */
const METRICS = {
  accuracy: "Accuracy (needs labels)",
  agreement: "Agreement with the control",
  error_rate: "Error rate",
  latency_p50: "Latency, median",
  latency_p99: "Latency, 99th percentile",
};
/** @type {[string, string][]} */
const PAIRS = [
  ["one_per_unit", "Each unit’s first image, with an exact test"],
  ["all", "All images, counted by unit"],
];

/** Makes the function that sets one field. @param {(changes: Partial<Form>) => void} change */
const setter = (change) => (/** @type {keyof Form} */ name) => (/** @type {string | boolean} */ value) =>
  change({ [name]: value });

export function What() {
  const { form, change, errors } = useForm();
  const set = setter(change);
  return html`
    <${Section} title="What is asked">
      <${Input} at="name" label="Name" value=${form.name} set=${set("name")} maxlength="64" required
        hint="Callers send their images to it as to a model: small letters, digits, and _ . - between." />
      <${Input} at="description" label="Description" value=${form.description} set=${set("description")} maxlength="2000"
        hint="The question in a sentence, for those who read the report." />
      <fieldset class="modes">
        <legend>Mode</legend>
        ${MODES.map(
          ([mode, title, text]) => html`
          <label key=${mode}>
            <input type="radio" name="mode" value=${mode} checked=${form.mode === mode}
              onChange=${() => change(fitted({ ...form, mode }))} />
            <span><b>${title}</b> ${text}</span>
          </label>`,
        )}
        <${GroupError} said=${saidAt(errors, "mode")} />
      </fieldset>
    <//>`;
}

export function Enrolment() {
  const { form, change } = useForm();
  const set = setter(change);
  return html`
    <${Section} title="Who takes part">
      <div class="fields">
        <${Input} at="ramp" label="Ramp (% of the units)" value=${form.ramp} set=${set("ramp")} step="0.01" min="0" max="100"
          hint="Can be changed while it runs; the others get the control." />
        ${
          form.mode === "split"
            ? null
            : html`<${Input} at="sample" label="Sample (% of their requests)" value=${form.sample} set=${set("sample")}
              step="0.01" min="0" max="100" hint="That the other arms see, too: less spares the machine." />`
        }
      </div>
    <//>`;
}

export function Decision() {
  const { form, change } = useForm();
  const set = setter(change);
  const late = form.primary_metric.startsWith("latency");
  return html`
    <${Section} title="What decides" note="Written down before anything is seen: it cannot be changed after the start.">
      <div class="fields">
        <${Select} at="primary_metric" label="Primary metric" value=${form.primary_metric} set=${set("primary_metric")}
          options=${metricsOf(form.mode).map((one) => [one, METRICS[one]])} />
        <${Input} at="margin" label=${late ? "Margin (% of the control’s)" : "Margin (percentage points)"}
          value=${form.margin} set=${set("margin")} step="any" min="0" max="100"
          hint="The smallest difference worth acting on." />
        <${Input} at="alpha" label="Alpha (%)" value=${form.alpha} set=${set("alpha")} step="any" min="0" max="100"
          hint="Chance of a false verdict, however often one looks." />
        <${Input} at="planned_units" label="Planned units" value=${form.planned_units} set=${set("planned_units")} step="1"
          min="100" hint="For which the intervals are narrowest; they hold for any number." />
      </div>
    <//>`;
}

export function Images() {
  const { form, change } = useForm();
  const set = setter(change);
  if (form.mode === "split") return null; // each image is seen by one arm: there is no disagreement
  return html`
    <${Section} title="Images">
      <${Check} at="keep_images" label="Keep images on which the arms disagree" value=${form.keep} set=${set("keep")}
        hint="Off, no image is ever written down. On, operators can see and label what callers sent: keep only what they
          may see. Images are deleted after the days given here." />
      ${
        form.keep
          ? html`
        <div class="fields">
          <${Input} at="keep_images.max_images" label="At most (images)" value=${form.max_images} set=${set("max_images")}
            step="1" min="1" />
          <${Input} at="keep_images.days" label="For (days)" value=${form.days} set=${set("days")} step="any" min="0" />
        </div>`
          : null
      }
    <//>`;
}

export function Afterwards() {
  const { form, change } = useForm();
  const set = setter(change);
  return html`
    <${Section} title="Afterwards">
      <${Input} at="alias" label="Alias (may be left empty)" value=${form.alias} set=${set("alias")} maxlength="64"
        hint="A stable name for callers: it points to the experiment while it runs, then to the winner, else to the control." />
      <${Check} at="promote_when_better" label="Promote when better" value=${form.promote} set=${set("promote")}
        hint="The gateway promotes an arm by itself as soon as the verdict is “better”; it needs a guardrail on the error
          rate." />
    <//>`;
}

export function Advanced() {
  const { form, change, errors } = useForm();
  const set = setter(change);
  const wrong = ["layer", "slots", "holdout", "pairs"].some((path) => saidUnder(errors, path));
  return html`
    <details class="card advanced" open=${wrong || undefined}>
      <summary>Layer, holdout, pairs</summary>
      <div class="fields">
        <${Input} at="layer" label="Layer (empty: its own)" value=${form.layer} set=${set("layer")} maxlength="64"
          hint="Experiments of one layer share its slots, and never a unit." />
        <${Input} at="slots.0" label="Slots from (%)" value=${form.slot_from} set=${set("slot_from")} step="0.01" min="0"
          max="100" />
        <${Input} at="slots.1" label="Slots up to (%)" value=${form.slot_to} set=${set("slot_to")} step="0.01" min="0"
          max="100" />
        <${Input} at="holdout" label="Holdout (% of all units)" value=${form.holdout} set=${set("holdout")} step="0.01"
          min="0" max="100" hint="Always get the control, the same units in every experiment." />
        ${
          form.mode === "split"
            ? null
            : html`<${Select} at="pairs" label="Pairs that count" value=${form.pairs} set=${set("pairs")} options=${PAIRS} />`
        }
      </div>
      <${GroupError} said=${saidUnder(errors, "slots", /\d$/)} />
      <p class="note">Overrides for single units, and labels that arms call otherwise, are given in YAML.</p>
    </details>`;
}
