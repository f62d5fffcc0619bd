// A new experiment: the form, what it would need beside it, and the same as YAML.

import { useResource } from "../lib/api.js";
import { Confirm } from "../lib/dialog.js";
import { href, set } from "../lib/route.js";
import { useSession } from "../lib/session.js";
import { Copy, Page, Problem, Section } from "../lib/ui.js";
import { html, useEffect, useMemo } from "../vendor/vendor.js";
import { Arms } from "./arms.js";
import { Create, useCreating } from "./create.js";
import { designOf, emptyForm, MOST_ARMS, newArm, spread, withNames } from "./design.js";
import { FormContext, useKeptForm } from "./form.js";
import { Guardrails } from "./guardrails.js";
import { Advanced, Afterwards, Decision, Enrolment, Images, What } from "./parts.js";
import { Plan, usePlan, useTraffic } from "./plan.js";
import { placed } from "./refusal.js";
import { yamlOf } from "./yaml.js";

/** @typedef {import("./design.js").Form} Form */

const LEAD = "Two or more models answer the same traffic, and the gateway says which is better, and how sure it is.";

/** @param {{query: URLSearchParams}} props `models` in it are those to begin with: "digits_se,digits_eca:2" */
export default function New({ query }) {
  const { form, setForm, change } = useKeptForm();
  const models = useResource("v1/models");
  const cards = models.value?.models ?? null;
  const creating = useCreating(form);
  const { plan, ...beside } = usePlanned(form, cards);
  const planned = plan.error?.message ?? "";
  const errors = useMemo(
    () => ({ ...placed(planned).errors, ...creating.refused?.errors }),
    [planned, creating.refused],
  );
  useEffect(() => {
    if (!cards) return;
    setForm((last) => prefilled(last, cards, query.get("models")));
    set({ models: null }); // what is chosen afterwards must survive a reload
  }, [cards]);
  const edit = (/** @type {Partial<Form>} */ changes) => {
    creating.forget();
    change(changes);
  };
  const startOver = () => {
    creating.forget();
    setForm(prefilled(emptyForm(), cards ?? [], null));
  };
  const submitted = (/** @type {Event} */ event) => {
    event.preventDefault();
    creating.create(false);
  };
  return html`
    <${Page} title="New experiment" lead=${LEAD} actions=${html`
      <a href=${href(["experiments"])}>All experiments</a>
      <button type="button" onClick=${startOver}>Start over</button>`}>
      ${models.error ? html`<${Problem} error=${models.error} retry=${models.reload} />` : null}
      <${FormContext.Provider} value=${{ form, change: edit, errors }}>
        <div class="new-experiment">
          <form noValidate onSubmit=${submitted} aria-label="The design">
            <${What} />
            <${Arms} cards=${cards} />
            <${Enrolment} />
            <${Decision} />
            <${Guardrails} />
            <${Images} />
            <${Afterwards} />
            <${Advanced} />
            <${Create} creating=${creating} />
          </form>
          <aside aria-label="What it would need">
            <${Plan} ...${beside} plan=${plan} units=${form.units_per_day}
              setUnits=${(/** @type {string} */ units_per_day) => change({ units_per_day })} />
            <${Section} title="The same as YAML" note=${html`For <code>attnserve experiment create design.yaml</code>`}>
              <${Copy} label="The design as YAML" text=${yamlOf(designOf(form))} />
            <//>
          </aside>
        </div>
      <//>
      ${creating.asking ? html`<${Starting} form=${form} creating=${creating} />` : null}
    <//>`;
}

/** @param {{form: Form, creating: ReturnType<typeof useCreating>}} props */
function Starting({ form, creating }) {
  return html`
    <${Confirm} title=${`Create and start ${form.name.trim()}?`} act="Create and start" onClose=${creating.stopAsking}
      run=${() => creating.make(true)}>
      <p>Within seconds ${form.ramp} % of the units take part. What decides can then no longer be changed.</p>
    <//>`;
}

/** The plan of what stands in the form. @param {Form} form @param {any[] | null} cards */
function usePlanned(form, cards) {
  const { can, lacks } = useSession();
  const seen = useTraffic(form.arms.map(({ model }) => model.split(":")[0]).filter(Boolean));
  const chosen = form.arms.every(({ model }) => model);
  // A design has a name; its plan needs none.
  const design = { ...designOf(form), name: form.name.trim() || "unnamed" };
  const given = form.units_per_day ? Number(form.units_per_day) : seen.perDay;
  const plan = usePlan(can("operate") && chosen ? design : null, given);
  const lack = lacks("operate");
  const choose = chosen || cards === null ? "" : "Choose a model for each arm to see what the experiment needs.";
  return { plan, seen, refused: lack ? `A plan is for operators. ${lack}` : choose };
}

/**
 * The form with models for its arms: those that a link names, else, where it has none, the first that are ready.
 *
 * @param {Form} form @param {any[]} cards @param {string | null} wanted @returns {Form}
 */
function prefilled(form, cards, wanted) {
  const key = (/** @type {any} */ card) => `${card.name}:${card.version}`;
  const named = (wanted ?? "")
    .split(",")
    .map((one) => cards.find((card) => key(card) === one || (card.default && card.name === one)))
    .filter(Boolean)
    .map(key);
  if (named.length > 1) return { ...form, arms: withNames(spread(named.slice(0, MOST_ARMS).map(newArm))) };
  if (form.arms.some(({ model }) => model)) return form;
  const ready = cards.filter(({ state }) => state === "READY");
  const models = [...new Set([...ready.filter((card) => card.default), ...ready].map(key))];
  return { ...form, arms: withNames(form.arms.map((arm, at) => ({ ...arm, model: models[at] ?? models[0] ?? "" }))) };
}
