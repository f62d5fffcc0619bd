// Who is asked: versions that are ready, and whatever else can be called by a name.

import { useResource } from "../lib/api.js";
import { Field } from "../lib/dialog.js";
import { href, set } from "../lib/route.js";
import { useSession } from "../lib/session.js";
import { Badge, Notice } from "../lib/ui.js";
import { html, useMemo, useState } from "../vendor/vendor.js";

/** Of one image at a time. */
const MOST = 12;
const AT_FIRST = 4;
/** In the address, where none is chosen: "" is for the choice that the page makes. */
const NONE = "-";

/**
 * @typedef {object} Target
 * @property {string} key how the address names it: NAME, or NAME:VERSION
 * @property {string} name
 * @property {string} version "" for the one that the gateway chooses
 * @property {boolean} gates whether its channel gates are asked for
 * @property {any} card what is known of it; null for what is no model, or not ready
 */

/**
 * What can be chosen: each ready version once, the default one by its model's name alone.
 *
 * @param {any[]} models @returns {Target[]}
 */
export function offered(models) {
  return models
    .filter(({ state }) => state === "READY")
    .map((card) => ({
      key: card.default ? card.name : `${card.name}:${card.version}`,
      name: card.name,
      version: card.default ? "" : card.version,
      gates: card.offers_attention === true,
      card,
    }));
}

/**
 * What the address chooses; the first models where it says nothing.
 *
 * @param {string | null} said @param {Target[]} ready @param {any[]} models @returns {Target[]}
 */
export function chosen(said, ready, models) {
  if (!said) return ready.filter(({ version }) => !version).slice(0, AT_FIRST);
  const keys = said === NONE ? [] : [...new Set(said.split(",").filter(Boolean))];
  return keys.slice(0, MOST).map((key) => ready.find((target) => target.key === key) ?? other(key, models));
}

/** An alias, an experiment, a version that is not ready: the gateway knows. @param {string} key @param {any[]} models
 * @returns {Target} */
function other(key, models) {
  const [name, version = ""] = key.split(/:(.*)/s);
  const behind = models.find(({ aliases }) => !version && aliases?.includes(name));
  return { key, name, version, gates: behind?.offers_attention === true, card: behind ?? null };
}

/** @param {Target[]} targets */
function choose(targets) {
  set({ models: targets.length ? targets.map(({ key }) => key).join(",") : NONE });
}

/** @param {{ready: Target[], targets: Target[], models: any[]}} props */
export function Choices({ ready, targets, models }) {
  const others = targets.filter(({ key }) => !ready.some((target) => target.key === key));
  const keys = new Set(targets.map(({ key }) => key));
  const full = targets.length >= MOST;
  /** @param {Target} target */
  const toggle = (target) => {
    const kept = [...ready, ...others].filter(({ key }) => (key === target.key ? !keys.has(key) : keys.has(key)));
    choose(kept);
  };
  return html`
    <div class="pg-choices">
      <fieldset>
        <legend>Ask these models</legend>
        ${ready.length ? null : html`<p class="note">None is ready. See <a href=${href(["models"])}>Models</a>.</p>`}
        ${[...ready, ...others].map(
          (target) => html`
          <div class="pg-choice" key=${target.key}>
            <label>
              <input type="checkbox" checked=${keys.has(target.key)} disabled=${full && !keys.has(target.key)}
                onChange=${() => toggle(target)} />
              <span><bdi>${target.key}</bdi> <${Kind} target=${target} ready=${ready.includes(target)} /></span>
            </label>
            ${
              ready.includes(target)
                ? html`<a href=${href(["models", target.name, target.card.version])}
                    aria-label=${`Card of ${target.key}`}>card</a>`
                : null
            }
          </div>`,
        )}
      </fieldset>
      ${full ? html`<${Notice} tone="warn"><p>At most ${MOST} are asked at a time.</p><//>` : null}
      <${Another} models=${models} add=${(/** @type {string} */ key) =>
        choose(chosen([...keys, key].join(","), ready, models))} />
    </div>`;
}

/** @param {{target: Target, ready: boolean}} props */
function Kind({ target: { card }, ready }) {
  if (!card) return html`<span class="note">by name</span>`;
  if (!ready) return html`<span class="note">alias of <bdi>${card.name}:${card.version}</bdi></span>`;
  const words = card.attention === "none" ? "no attention" : card.attention?.toUpperCase();
  return html`
    <span class="note"><bdi>${words}</bdi></span>
    ${card.trained === false ? html` <${Badge} tone="warn">untrained<//>` : null}`;
}

/** Aliases and experiments are called like models. @param {{models: any[], add: (key: string) => void}} props */
function Another({ models, add }) {
  const { me } = useSession();
  const experiments = useResource(me.experiments ? "v1/experiments" : null);
  const [text, setText] = useState("");
  const names = useMemo(() => {
    const running = (experiments.value?.experiments ?? []).filter((/** @type {any} */ one) => one.state !== "draft");
    return [...models.flatMap(({ aliases }) => aliases ?? []), ...running.map((/** @type {any} */ one) => one.name)];
  }, [experiments.value, models]);
  /** @param {Event} event */
  const submitted = (event) => {
    event.preventDefault();
    if (text.trim()) add(text.trim());
    setText("");
  };
  return html`
    <form class="pg-another" onSubmit=${submitted}>
      <${Field} label="Another name" hint="An alias or an experiment. An image sent to an experiment counts as its traffic.">${(
        /** @type {Record<string, unknown>} */ attributes,
      ) => html`
        <div class="actions">
          <input ...${attributes} list="pg-names" autocomplete="off" spellcheck="false" maxlength="80" value=${text}
            onInput=${(/** @type {any} */ event) => setText(event.target.value)} />
          <button>Add</button>
        </div>`}<//>
      <datalist id="pg-names">${names.map((name) => html`<option key=${name} value=${name}></option>`)}</datalist>
    </form>`;
}
