// The form's state, kept over a reload, and its controls.

import { Field } from "../lib/dialog.js";
import { createContext, html, useCallback, useContext, useEffect, useState } from "../vendor/vendor.js";
import { emptyForm } from "./design.js";
import { saidAt } from "./refusal.js";

/** @typedef {import("./design.js").Form} Form */
/** @typedef {import("./refusal.js").Errors} Errors */

/**
 * @typedef {object} FormState
 * @property {Form} form
 * @property {(changes: Partial<Form>) => void} change
 * @property {Errors} errors
 */

const KEPT = "attnserve-new-experiment";

export const FormContext = createContext(
  /** @type {FormState} */ ({ form: emptyForm(), change: () => {}, errors: {} }),
);

/** The form that is being filled in; a reload of the tab does not lose it. */
export function useKeptForm() {
  const [form, setForm] = useState(kept);
  useEffect(() => sessionStorage.setItem(KEPT, JSON.stringify(form)), [form]);
  const change = useCallback(
    (/** @type {Partial<Form>} */ changes) => setForm((last) => ({ ...last, ...changes })),
    [],
  );
  return { form, setForm, change };
}

/** Keep it no longer. */
export function forgetForm() {
  sessionStorage.removeItem(KEPT);
}

/** @returns {Form} */
function kept() {
  const empty = emptyForm();
  try {
    const found = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    return found && Array.isArray(found.arms) && Array.isArray(found.guardrails) ? { ...empty, ...found } : empty;
  } catch {
    return empty; // of another version of this page, say
  }
}

/** The form as a hook, for its parts. */
export function useForm() {
  return useContext(FormContext);
}

/**
 * @typedef {object} ControlProps
 * @property {string} at path of the field, as the gateway's messages name it
 * @property {string} label with its unit
 * @property {import("../vendor/vendor.js").ComponentChildren} [hint]
 * @property {string} value
 * @property {(value: string) => void} set
 */

/** A line, or a number where `step` says how fine. @param {ControlProps & Record<string, unknown>} props */
export function Input({ at, label, hint, value, set, step, ...more }) {
  const { errors } = useForm();
  const kind = step ? { type: "number", inputmode: "decimal", step } : { type: "text", spellcheck: false };
  return html`
    <${Field} label=${label} hint=${hint} error=${saidAt(errors, at)}>${(
      /** @type {Record<string, unknown>} */ attributes,
    ) => html`<input ...${attributes} ...${kind} ...${more} autocomplete="off" value=${value}
      onInput=${(/** @type {any} */ event) => set(event.target.value)} />`}<//>`;
}

/** @param {ControlProps & {options: [string, string][]}} props */
export function Select({ at, label, hint, value, set, options }) {
  const { errors } = useForm();
  return html`
    <${Field} label=${label} hint=${hint} error=${saidAt(errors, at)}>${(
      /** @type {Record<string, unknown>} */ attributes,
    ) => html`<select ...${attributes} value=${value}
      onChange=${(/** @type {any} */ event) => set(event.target.value)}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select>`}<//>`;
}

/** @param {{at: string, label: string, hint?: unknown, value: boolean, set: (value: boolean) => void}} props */
export function Check({ at, label, hint, value, set }) {
  const { errors } = useForm();
  return html`
    <div class="check">
      <${Field} label=${label} hint=${hint} error=${saidAt(errors, at)}>${(
        /** @type {Record<string, unknown>} */ attributes,
      ) => html`<input ...${attributes} type="checkbox" checked=${value}
        onChange=${(/** @type {any} */ event) => set(event.target.checked)} />`}<//>
    </div>`;
}

/** What is wrong with a whole group. @param {{said: string}} props */
export function GroupError({ said }) {
  return said ? html`<p class="wrong">${said}</p>` : null;
}
