// Dialogs, and what is filled in there.

import { html, useEffect, useId, useRef, useState } from "../vendor/vendor.js";
import { Problem } from "./ui.js";

/** @typedef {import("../vendor/vendor.js").ComponentChildren} Children */

/**
 * A modal dialog: the browser keeps the focus inside, Escape closes it, the focus goes back.
 *
 * @param {{title: string, onClose: () => void, children?: Children}} props shown while it is rendered
 */
export function Dialog({ title, onClose, children }) {
  const id = useId();
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const shown = dialog.current;
    const before = document.activeElement;
    shown?.showModal();
    return () => {
      shown?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  /** @param {Event} event */
  const cancelled = (event) => {
    event.preventDefault();
    onClose();
  };
  // The browser closes it at a second Escape, whatever was said to the first: one that has to stay is shown again.
  const closed = () => {
    if (!dialog.current) return; // it was closed since it is no longer drawn
    onClose();
    setTimeout(() => {
      if (dialog.current?.open === false) dialog.current.showModal();
    });
  };
  return html`
    <dialog ref=${dialog} aria-labelledby=${id} onCancel=${cancelled} onClose=${closed}>
      <h2 id=${id}>${title}</h2>
      ${children}
    </dialog>`;
}

/**
 * A labelled control with its hint and its error.
 *
 * @param {{label: string, hint?: Children, error?: string, children: (attributes: Record<string, unknown>) => Children}}
 *   props `children` gets what the control must carry: id, aria-describedby, aria-invalid
 */
export function Field({ label, hint, error, children }) {
  const id = useId();
  const said = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children({ id, "aria-describedby": said || undefined, "aria-invalid": error ? "true" : undefined })}
      ${hint ? html`<p class="hint" id=${`${id}-hint`}>${hint}</p>` : null}
      ${error ? html`<p class="wrong" id=${`${id}-error`}>${error}</p>` : null}
    </div>`;
}

/**
 * Ask whether something is to be done, and why where `reason` is true; errors stay in the dialog.
 *
 * @param {{title: string, act: string, reason?: boolean, dangerous?: boolean, onClose: () => void,
 *   run: (reason: string) => Promise<unknown>, children?: Children}} props `act` is the button's text; after `run`
 *   the dialog closes
 */
export function Confirm({ title, act, reason = false, dangerous = false, onClose, run, children }) {
  const [why, setWhy] = useState("");
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const [busy, setBusy] = useState(false);
  const shown = useRef(true);
  useEffect(
    () => () => {
      shown.current = false;
    },
    [],
  );
  /** @param {Event} event */
  const submitted = async (event) => {
    event.preventDefault();
    if (reason && !why.trim()) return setError(new Error("Give a reason: spaces alone tell nobody why."));
    setBusy(true);
    setError(null);
    try {
      await run(why.trim());
      if (shown.current) onClose(); // else what was closed early would close another one
    } catch (refused) {
      setError(/** @type {Error} */ (refused));
      setBusy(false);
    }
    return undefined;
  };
  return html`
    <${Dialog} title=${title} onClose=${onClose}>
      <form onSubmit=${submitted}>
        ${children}
        ${
          reason
            ? html`<${Field} label="Reason" hint="Kept in the history, for those who ask later.">${(
                /** @type {Record<string, unknown>} */ attributes,
              ) => html`<textarea ...${attributes} required maxlength="500"
            rows="2" value=${why} onInput=${(/** @type {any} */ event) => setWhy(event.target.value)}></textarea>`}<//>`
            : null
        }
        ${error ? html`<${Problem} error=${error} />` : null}
        <div class="actions">
          <button type="button" onClick=${onClose}>${busy ? "Close" : "Cancel"}</button>
          <button class=${dangerous ? "main dangerous" : "main"} disabled=${busy}>${busy ? "Working…" : act}</button>
        </div>
      </form>
    <//>`;
}
