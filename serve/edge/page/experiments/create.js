// Making an experiment of what stands in the form: checks that spare a question, and what the gateway refuses.

import { ApiError, segment, send } from "../lib/api.js";
import { Field } from "../lib/dialog.js";
import { go, href } from "../lib/route.js";
import { useSession } from "../lib/session.js";
import { Problem, Section } from "../lib/ui.js";
import { html, useEffect, useState } from "../vendor/vendor.js";
import { reportParts } from "./address.js";
import { designOf } from "./design.js";
import { forgetForm, useForm } from "./form.js";
import { placed, saidAt } from "./refusal.js";

/** @typedef {import("./design.js").Form} Form */
/** @typedef {import("./refusal.js").Errors} Errors */

/**
 * @typedef {object} Refusal
 * @property {string} message
 * @property {Errors} errors of single fields
 * @property {string} [made] the draft's name, where it was made but not started
 */

/**
 * Creating, as a hook.
 *
 * @param {Form} form
 */
export function useCreating(form) {
  const [refused, setRefused] = useState(/** @type {Refusal | null} */ (null));
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    // After the dialog, if there was one, has given the focus back.
    if (refused && !asking) setTimeout(focusWrong);
  }, [refused, asking]);
  const make = async (/** @type {boolean} */ start) => {
    setBusy(true);
    setRefused(await made(form, start));
    setBusy(false);
  };
  const create = (/** @type {boolean} */ start) => {
    const missing = lacking(form);
    setRefused(missing);
    if (missing) return;
    if (start) setAsking(true);
    else make(false);
  };
  return { refused, forget: () => setRefused(null), asking, stopAsking: () => setAsking(false), busy, create, make };
}

/** The end of the form. @param {{creating: ReturnType<typeof useCreating>}} props */
export function Create({ creating: { refused, busy, create } }) {
  const { form, change, errors } = useForm();
  const lack = useSession().lacks("operate");
  const off = { disabled: busy || lack !== "", "aria-describedby": lack ? "create-lack" : undefined };
  return html`
    <${Section} title="Create it">
      <${Field} label="Reason" hint="Kept in the history, for those who ask later." error=${saidAt(errors, "reason")}>${(
        /** @type {Record<string, unknown>} */ attributes,
      ) => html`
        <textarea ...${attributes} rows="2" maxlength="500" value=${form.reason}
          onInput=${(/** @type {any} */ event) => change({ reason: event.target.value })}></textarea>`}<//>
      ${refused ? html`<${Problem} error=${refused.message} />` : null}
      ${refused?.made ? html`<p><a href=${href(reportParts(refused.made))}>Show the draft</a></p>` : null}
      ${lack ? html`<p class="note" id="create-lack">${lack}</p>` : null}
      <div class="actions">
        <button class="main" ...${off}>${busy ? "Working…" : "Create a draft"}</button>
        <button type="button" ...${off} onClick=${() => create(true)}>Create and start</button>
      </div>
    <//>`;
}

/** What need not be asked about. @param {Form} form @returns {Refusal | null} */
function lacking(form) {
  /** @type {Errors} */
  const errors = {};
  if (!form.name.trim()) errors.name = "Give it a name.";
  form.arms.forEach(({ model }, at) => {
    if (!model) errors[`arms.${at}.model`] = "Choose a model.";
  });
  if (!form.reason.trim()) errors.reason = "Say why it is made.";
  const many = Object.keys(errors).length;
  if (!many) return null;
  return { message: `Not created: ${many === 1 ? "one field lacks" : `${many} fields lack`} a value.`, errors };
}

/** Make it, and show it. @param {Form} form @param {boolean} start @returns {Promise<Refusal | null>} */
async function made(form, start) {
  const reason = form.reason.trim();
  const design = designOf(form);
  const name = String(design.name);
  try {
    const { etag } = await send("POST", "v1/experiments", { ...design, reason });
    const late = start ? await startRefused(name, reason, etag) : null;
    if (late) return late;
  } catch (error) {
    const said = unanswered(error) ? "It is not known whether it was created; the list will tell." : "Not created:";
    return { message: `${said} ${told(error)}`, errors: placed(told(error)).errors };
  }
  forgetForm();
  go(reportParts(name));
  return null;
}

/** @param {string} name @param {string} reason @param {string} ifMatch @returns {Promise<Refusal | null>} */
async function startRefused(name, reason, ifMatch) {
  try {
    await send("POST", `v1/experiments/${segment(name)}:start`, { reason }, { ifMatch });
    return null;
  } catch (error) {
    const said = unanswered(error) ? "it is not known whether it was started" : "not started";
    const message = `${name} is made, but ${said}: ${told(error)}`;
    return { message, errors: placed(told(error)).errors, made: name };
  }
}

/** @param {unknown} error @returns {string} */
function told(error) {
  return error instanceof Error ? error.message : String(error);
}

/** Whether no answer came, or not all of it: what was asked for may have been done. @param {unknown} error */
function unanswered(error) {
  return !(error instanceof ApiError && error.status);
}

function focusWrong() {
  /** @type {HTMLElement | null} */ (document.querySelector('.new-experiment [aria-invalid="true"]'))?.focus();
}
