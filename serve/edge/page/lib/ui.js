// The parts that all views are made of.

import { html, useEffect, useId, useRef, useState } from "../vendor/vendor.js";
import { takeOpened } from "./route.js";

/** @typedef {import("../vendor/vendor.js").ComponentChildren} Children */

/** The signs that go with the tones, so that a state is never told by colour alone. */
export const SIGNS = { good: "✓", bad: "✕", warn: "!", even: "=", open: "…" };

/** @typedef {keyof typeof SIGNS} Tone */

/**
 * A view: its heading takes the focus when the reader has come from another one, so that a screen reader says where
 * one is. The first view of all is told by the page's title.
 *
 * @param {{title: string, lead?: Children, actions?: Children, children?: Children}} props
 */
export function Page({ title, lead, actions, children }) {
  const heading = useRef(/** @type {HTMLHeadingElement | null} */ (null));
  useEffect(() => {
    if (takeOpened()) heading.current?.focus();
  }, []);
  useEffect(() => {
    document.title = `${title} · attnserve`;
  }, [title]);
  return html`
    <div class="page">
      <header class="page-head">
        <div>
          <h1 tabindex="-1" id="title" ref=${heading}><bdi>${title}</bdi></h1>
          ${lead ? html`<p class="lead">${lead}</p>` : null}
        </div>
        ${actions ? html`<div class="actions">${actions}</div>` : null}
      </header>
      ${children}
    </div>`;
}

/** @param {{title: string, note?: Children, class?: string, children?: Children}} props */
export function Section({ title, note, class: name = "", children }) {
  const id = useId();
  return html`
    <section class=${`card ${name}`} aria-labelledby=${id}>
      <h2 id=${id}>${title}</h2>
      ${note ? html`<p class="note">${note}</p>` : null}
      ${children}
    </section>`;
}

/** @param {{what?: string}} props */
export function Loading({ what = "" }) {
  return html`<p class="loading" role="status" aria-busy="true">Loading ${what}…</p>`;
}

/** An error in words. @param {{error: Error | string, retry?: () => void}} props */
export function Problem({ error, retry }) {
  return html`
    <div class="notice bad" role="alert">
      <p><span class="sign" aria-hidden="true">✕</span> ${typeof error === "string" ? error : error.message}</p>
      ${retry ? html`<button type="button" onClick=${retry}>Try again</button>` : null}
    </div>`;
}

/** @param {{tone?: Tone, children?: Children}} props */
export function Notice({ tone = "even", children }) {
  return html`<div class=${`notice ${tone}`}>${children}</div>`;
}

/** @param {{tone?: Tone, children?: Children}} props */
export function Badge({ tone = "open", children }) {
  return html`<span class=${`badge ${tone}`}><span aria-hidden="true">${SIGNS[tone]}</span> ${children}</span>`;
}

/**
 * What a resource holds: loading, an error, or what `children` makes of the value. An error beside an older value
 * is shown above it.
 *
 * @template T
 * @param {{of: import("./api.js").Resource<T>, what?: string, children: (value: T) => Children}} props
 */
export function Loaded({ of: { value, error, reload }, what = "", children }) {
  if (value === null && error === null) return html`<${Loading} what=${what} />`;
  return html`
    ${error ? html`<${Problem} error=${error} retry=${reload} />` : null}
    ${value === null ? null : children(value)}`;
}

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: any) => Children} cell
 * @property {boolean} [number] right-aligned, with digits of one width
 * @property {boolean} [head] names its row
 */

/**
 * A table that scrolls by itself where it is too wide, also with the keyboard.
 *
 * @param {{caption: string, columns: Column[], rows: any[], hidden?: boolean, empty?: Children,
 *   rowKey?: (row: any, index: number) => string}} props `hidden` keeps the caption for screen readers only; `rowKey`
 *   tells rows apart where their places change (a prop called `key` would be Preact's own, and never arrive)
 */
export function Table({ caption, columns, rows, rowKey = inOrder, hidden = false, empty = "Nothing yet." }) {
  if (rows.length === 0) return html`<p class="note">${empty}</p>`;
  return html`
    <div class="scroll" role="region" aria-label=${caption} tabindex="0">
      <table>
        <caption class=${hidden ? "unseen" : ""}>${caption}</caption>
        <thead><tr>${columns.map(
          ({ title, number }) => html`<th scope="col" class=${number ? "number" : ""}>${title}</th>`,
        )}</tr></thead>
        <${Rows} columns=${columns} rows=${rows} rowKey=${rowKey} />
      </table>
    </div>`;
}

/**
 * The body of a table.
 *
 * @param {{columns: Column[], rows: any[], rowKey: (row: any, index: number) => string}} props
 */
export function Rows({ columns, rows, rowKey }) {
  return html`
    <tbody>${rows.map(
      (row, index) =>
        html`<tr key=${rowKey(row, index)}>${columns.map(({ cell, number, head }) =>
          head ? html`<th scope="row">${cell(row)}</th>` : html`<td class=${number ? "number" : ""}>${cell(row)}</td>`,
        )}</tr>`,
    )}</tbody>`;
}

/** @param {unknown} _row @param {number} index */
function inOrder(_row, index) {
  return String(index);
}

/**
 * Names and their values.
 *
 * @param {{items: [string, Children][]}} props those whose value is null, undefined or "" are left out
 */
export function Facts({ items }) {
  const known = items.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class="facts">${known.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** One figure, large. @param {{name: string, value: Children, note?: Children}} props */
export function Tile({ name, value, note }) {
  return html`<dl class="tile"><dt>${name}</dt><dd class="value">${value}</dd>${note ? html`<dd>${note}</dd>` : null}</dl>`;
}

/**
 * Tabs as WAI-ARIA describes them: arrow keys move, the chosen one alone is in the tab order.
 *
 * @param {{label: string, tabs: {id: string, title: string}[], chosen: string, choose: (id: string) => void,
 *   children?: Children}} props `children` is the chosen tab's panel
 */
export function Tabs({ label, tabs, chosen, choose, children }) {
  const base = useId();
  const list = useRef(/** @type {HTMLDivElement | null} */ (null));
  const at = Math.max(
    0,
    tabs.findIndex(({ id }) => id === chosen),
  );
  /** @param {KeyboardEvent} event */
  const moved = (event) => {
    const steps = /** @type {Record<string, number>} */ ({ ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 });
    const target = steps[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const next = (target + tabs.length) % tabs.length;
    choose(tabs[next].id);
    /** @type {HTMLElement | undefined} */ (list.current?.children[next])?.focus();
  };
  return html`
    <div class="tabs">
      <div role="tablist" aria-label=${label} ref=${list} onKeyDown=${moved}>
        ${tabs.map(
          ({ id, title }, number) => html`
          <button type="button" role="tab" id=${`${base}-${id}`} key=${id} aria-selected=${number === at}
            aria-controls=${`${base}-panel`} tabindex=${number === at ? 0 : -1}
            onClick=${() => choose(id)}>${title}</button>`,
        )}
      </div>
      <div role="tabpanel" id=${`${base}-panel`} aria-labelledby=${`${base}-${tabs[at].id}`} tabindex="0">${children}</div>
    </div>`;
}

/** Text to copy, with a button that says when it is done. @param {{text: string, label: string}} props */
export function Copy({ text, label }) {
  const [done, setDone] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone("Copied");
    } catch {
      setDone("This browser does not allow it: select the text");
    }
    setTimeout(() => setDone(""), 2000);
  };
  return html`
    <div class="copy">
      <pre tabindex="0" role="region" aria-label=${label}><code>${text}</code></pre>
      <button type="button" onClick=${copy} aria-label=${`Copy: ${label}`}>Copy</button>
      <span role="status">${done}</span>
    </div>`;
}
