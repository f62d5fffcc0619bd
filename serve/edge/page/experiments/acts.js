// What can be done to an experiment in its state, each with a reason and a confirmation.

import { ApiError, segment, send } from "../lib/api.js";
import { Confirm, Field } from "../lib/dialog.js";
import { time } from "../lib/format.js";
import { useSession } from "../lib/session.js";
import { html, useEffect, useId, useRef, useState } from "../vendor/vendor.js";
import { tenThousandths } from "./design.js";
import { badgeOf } from "./report/words.js";

/** @typedef {Record<string, any>} Experiment as v1/experiments/NAME gives it */

/**
 * @typedef {object} Act
 * @property {string} id as the gateway calls it
 * @property {string} title
 * @property {string} done
 * @property {boolean} [dangerous] it ends the experiment
 * @property {(experiment: Experiment, chosen: Chosen) => string} means what will happen
 *
 * @typedef {{ramp: string, arm: string}} Chosen what some acts take
 */

/** @type {Act[]} */
const ACTS = [
  {
    id: "start",
    title: "Start",
    done: "Started",
    means: ({ ramp }) =>
      `Within seconds ${ramp / 100} % of the units take part. What decides can then no longer be changed.`,
  },
  {
    id: "resume",
    title: "Resume",
    done: "Resumed",
    means: () => "Within seconds units get their arms again, the same as before the pause.",
  },
  {
    id: "ramp",
    title: "Ramp",
    done: "Ramped",
    means: ({ ramp }, chosen) =>
      `Within seconds ${chosen.ramp || "?"} % of the units take part instead of ${ramp / 100} %. ` +
      "Where more do, those who take part already stay in.",
  },
  {
    id: "pause",
    title: "Pause",
    done: "Paused",
    means: ({ arms }) =>
      `Within seconds the control “${arms[0].name}” answers everybody, until it is resumed. What was measured stays.`,
  },
  {
    id: "promote",
    title: "Promote",
    done: "Promoted",
    dangerous: true,
    means: (_, { arm }) =>
      `This ends the experiment: within seconds “${arm}” answers everybody. It can still be rolled back.`,
  },
  {
    id: "rollback",
    title: "Roll back",
    done: "Rolled back",
    dangerous: true,
    means: ({ arms }) => `This ends the experiment for good: at once the control “${arms[0].name}” answers everybody.`,
  },
  {
    id: "stop",
    title: "Stop",
    done: "Stopped",
    dangerous: true,
    means: ({ arms, state }) =>
      state === "draft"
        ? "This ends the draft for good; nobody was answered by it. Its name stays taken."
        : `This ends the experiment for good, without a winner: the control “${arms[0].name}” answers everybody.`,
  },
];

/** What leads on from each state; serve/core/lifecycle.py, which a test compares with this. */
export const OFFERED = /** @type {Record<string, string[]>} */ ({
  draft: ["start", "ramp", "stop"],
  running: ["ramp", "pause", "promote", "rollback", "stop"],
  paused: ["resume", "ramp", "promote", "rollback", "stop"],
  promoted: ["rollback"],
  rolled_back: [],
  stopped: [],
});

/**
 * The buttons of an experiment, and the dialogs behind them.
 *
 * @param {{experiment: Experiment, onDone: () => void, onAsk?: () => void, compact?: boolean}} props `onDone` is called
 *   when something has changed, be it by us or by somebody else; `onAsk` when a dialog opens, which goes with these
 *   buttons; `compact` hides the buttons behind one
 */
export function Acts({ experiment, onDone, onAsk, compact = false }) {
  const [open, setOpen] = useState(false);
  const [asked, setAsked] = useState(/** @type {{act: Act, seen: Experiment} | null} */ (null));
  const [said, setSaid] = useState(/** @type {{act: Act, made: Experiment} | null} */ (null));
  const group = useRef(/** @type {HTMLElement | null} */ (null));
  const id = useId();
  const lack = useSession().lacks("operate");
  const offered = ACTS.filter((act) => OFFERED[experiment.state]?.includes(act.id));
  const ask = (/** @type {Act} */ act) => {
    setSaid(null);
    setAsked({ act, seen: experiment });
    onAsk?.();
  };
  const done = (/** @type {Experiment} */ made) => {
    if (asked) setSaid({ act: asked.act, made });
    setOpen(false);
    onDone();
    setTimeout(() => {
      // The button that had the focus may be gone with the state.
      if (document.activeElement === document.body) group.current?.focus();
    });
  };
  useEffect(() => {
    // The button that had the focus goes with the state, once that is read anew.
    if (said && document.activeElement === document.body) group.current?.focus();
  }, [experiment.state]);
  const about = `${experiment.name}: `;
  return html`
    <div class=${compact ? "acts compact" : "acts"} role="group" tabindex="-1" ref=${group}
      aria-label=${`What can be done to ${experiment.name}`}>
      ${
        compact && offered.length
          ? html`<button type="button" aria-expanded=${open} aria-controls=${id} onClick=${() => setOpen(!open)}>
            <span class="unseen">${about}</span>Change…</button>`
          : null
      }
      <span class="buttons" id=${id} hidden=${compact && !open}>
        ${offered.map(
          (act) => html`
          <button type="button" key=${act.id} disabled=${lack !== ""} aria-describedby=${lack ? `${id}-lack` : undefined}
            onClick=${() => ask(act)}>${act.title}${takesMore(act) ? "…" : ""}</button>`,
        )}
        ${lack && offered.length ? html`<span class="note" id=${`${id}-lack`}>${lack}</span>` : null}
      </span>
      <span role="status">${said ? html`<${Done} ...${said} />` : null}</span>
      ${asked ? html`<${Asked} ...${asked} onClose=${() => setAsked(null)} onDone=${done} onChanged=${onDone} />` : null}
    </div>`;
}

/** @param {Act} act */
function takesMore({ id }) {
  return id === "ramp" || id === "promote";
}

/** @param {{act: Act, made: Experiment}} props */
function Done({ act, made }) {
  return html`<span class="note">${act.done}: version ${made.version}, in force from ${time(made.effective_at)}.</span>`;
}

/**
 * The dialog of an act. It stays with the version that was seen when it was opened.
 *
 * @param {{act: Act, seen: Experiment, onClose: () => void, onDone: (made: Experiment) => void,
 *   onChanged: () => void}} props
 */
function Asked({ act, seen, onClose, onDone, onChanged }) {
  const [ramp, setRamp] = useState(String(seen.ramp / 100));
  const others = seen.arms.slice(1);
  const [arm, setArm] = useState(others.length === 1 ? others[0].name : "");
  const chosen = { ramp, arm: arm || "…" };
  const run = async (/** @type {string} */ reason) => {
    if (act.id === "promote" && !arm) throw new Error("Choose the arm that wins.");
    const more = act.id === "ramp" ? { ramp: tenThousandths(ramp) } : act.id === "promote" ? { arm } : {};
    try {
      const path = `v1/experiments/${segment(seen.name)}:${act.id}`;
      onDone((await send("POST", path, { reason, ...more }, { ifMatch: `"${seen.version}"` })).body);
    } catch (error) {
      throw explained(error, onChanged);
    }
  };
  return html`
    <${Confirm} title=${`${act.title} ${seen.name}?`} act=${act.title} reason dangerous=${act.dangerous}
      onClose=${onClose} run=${run}>
      <p>${act.means(seen, chosen)}</p>
      ${act.id === "promote" ? html`<${Winner} seen=${seen} arm=${arm} set=${setArm} />` : null}
      ${act.id === "ramp" ? html`<${Ramp} ramp=${ramp} set=${setRamp} />` : null}
    <//>`;
}

/** @param {{seen: Experiment, arm: string, set: (arm: string) => void}} props */
function Winner({ seen, arm, set }) {
  return html`
    ${seen.verdict && seen.verdict !== "better" ? html`<p>The verdict is “${badgeOf(seen.verdict).text}” so far.</p>` : null}
    <${Field} label="The arm that wins">${(/** @type {Record<string, unknown>} */ attributes) => html`
      <select ...${attributes} required value=${arm} onChange=${(/** @type {any} */ event) => set(event.target.value)}>
        ${arm ? null : html`<option value="">Choose an arm</option>`}
        ${seen.arms.map(
          (/** @type {any} */ { name, model, version }, /** @type {number} */ at) => html`
          <option key=${name} value=${name} selected=${name === arm}>
            ${name}: ${model} version ${version}${at ? "" : " (the control)"}</option>`,
        )}
      </select>`}<//>`;
}

/** @param {{ramp: string, set: (ramp: string) => void}} props */
function Ramp({ ramp, set }) {
  return html`
    <${Field} label="Ramp (% of the units)">${(/** @type {Record<string, unknown>} */ attributes) => html`
      <input ...${attributes} type="number" required min="0" max="100" step="0.01" value=${ramp}
        onInput=${(/** @type {any} */ event) => set(event.target.value)} />`}<//>`;
}

/** An error in words; what somebody else has changed is read anew. @param {unknown} error @param {() => void} reread */
function explained(error, reread) {
  if (!(error instanceof ApiError) || ![409, 412].includes(error.status)) return error;
  reread();
  return new Error(
    error.status === 412
      ? `Somebody else has changed it meanwhile, so nothing was done: ${error.message}. It is being read anew: close this, ` +
          "look at it, and decide again."
      : `${error.message}. It is being read anew.`,
  );
}
