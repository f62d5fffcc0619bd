// The answers side by side, and whether they agree.

import { ms, share } from "../lib/format.js";
import { href } from "../lib/route.js";
import { Badge, Problem, Section } from "../lib/ui.js";
import { html } from "../vendor/vendor.js";
import { agreement, rightness } from "./agreement.js";
import { useQuestion } from "./asking.js";

/** @typedef {import("./asking.js").Outcome} Outcome */
/** @typedef {import("./choices.js").Target} Target */

/**
 * @param {{picture: import("./picture.js").Picture | null, label: string, targets: Target[], run: number,
 *   outcomes: Record<string, Outcome>, told: (key: string, outcome: Outcome) => void, again: () => void}} props
 */
export function Answers({ picture, label, targets, run, outcomes, told, again }) {
  const all = targets.map(({ key }) => outcomes[key]);
  const shared = sharedError(all);
  return html`
    <${Section} title="Answers" class="pg-answers">
      ${
        targets.length && picture
          ? html`
        <${Agreement} targets=${targets} outcomes=${outcomes} label=${label} />
        ${shared ? html`<${Problem} error=${shared} />` : null}
        <ul class="pg-cards">
          ${targets.map(
            (target) => html`
            <li key=${target.key}><${Card} target=${target} picture=${picture} run=${run}
              outcome=${outcomes[target.key]} told=${told} shared=${shared !== ""} /></li>`,
          )}
        </ul>
        <div class="actions">
          <button type="button" onClick=${again}>Ask again</button>
          <p class="note">Time: from asking to the whole answer, as this page measured it, with the network, the
            waiting and the other models that were asked at the same moment.</p>
        </div>`
          : html`<p class="note">${picture ? "Choose a model above." : "Choose an image, and see what each model says."}</p>`
      }
    <//>`;
}

/** What all of several say, so that it is said once. @param {(Outcome | undefined)[]} all @returns {string} */
function sharedError(all) {
  const messages = new Set(all.map((outcome) => outcome?.error?.message ?? ""));
  return all.length > 1 && messages.size === 1 ? [...messages][0] : "";
}

/** @param {{targets: Target[], outcomes: Record<string, Outcome>, label: string}} props */
function Agreement({ targets, outcomes, label }) {
  const votes = targets.flatMap(({ key }) => {
    const guess = outcomes[key]?.answer?.top[0];
    return guess ? [{ name: key, label: guess.label }] : [];
  });
  const asked = targets.filter(({ key }) => !outcomes[key]).length;
  const failed = targets.filter(({ key }) => outcomes[key]?.error).length;
  const fragments = [
    ...agreement(votes),
    ...(label ? [" ", ...rightness(votes, label)] : []),
    failed && votes.length ? ` No answer from ${failed}.` : "",
  ];
  return html`
    <p class="pg-agreement" role="status" aria-busy=${asked > 0}>
      ${asked ? `Waiting for ${asked} of ${targets.length}…` : fragments.map(said)}
    </p>`;
}

/** @param {import("./agreement.js").Fragment} fragment */
function said(fragment) {
  return typeof fragment === "string" ? fragment : html`<b><bdi>${fragment.said}</bdi></b>`;
}

/**
 * @param {{target: Target, picture: import("./picture.js").Picture, run: number, outcome: Outcome | undefined,
 *   told: (key: string, outcome: Outcome) => void, shared: boolean}} props
 */
function Card({ target, picture, run, outcome, told, shared }) {
  useQuestion(picture, target, run, told);
  const { key, card } = target;
  return html`
    <article class="pg-answer" aria-busy=${!outcome} aria-label=${key}>
      <h3><bdi>${key}</bdi></h3>
      ${card ? html`<p class="note">${attention(card)}</p>` : null}
      ${outcome ? null : html`<p class="note">Asking… <progress aria-label=${`Asking ${key}`}></progress></p>`}
      ${outcome?.error ? (shared ? html`<p class="note">No answer.</p>` : html`<${Problem} error=${outcome.error} />`) : null}
      ${outcome?.answer ? html`<${Guesses} answer=${outcome.answer} target=${target} />` : null}
    </article>`;
}

/** @param {any} card @returns {string} */
function attention(card) {
  if (!card.attention) return "unknown attention"; // it was never ready
  return card.attention === "none" ? "no attention" : `${card.attention.toUpperCase()} attention`;
}

/** @param {{answer: import("./asking.js").Answer, target: Target}} props */
function Guesses({ answer, target }) {
  const { top, untrained, parameters } = answer;
  return html`
    ${
      untrained
        ? html`<p><${Badge} tone="warn">untrained<//> Its weights are random: what it says means nothing.</p>`
        : null
    }
    <ol class="pg-guesses">
      ${top.map(
        ({ label, probability }, place) => html`
        <li key=${place}>
          <bdi title=${label}>${label}</bdi> <span class="number">${share(probability)}</span>
          <meter min="0" max="1" value=${probability} aria-label=${`Probability of ${label}`}>${share(probability)}</meter>
        </li>`,
      )}
    </ol>
    <p class="pg-time"><b>${ms(answer.ms)}</b> round trip</p>
    <p class="note"><a href=${href(["models", answer.model, answer.version])}><bdi>${answer.model}</bdi>${" "}version
      ${" "}${answer.version}</a>${typeof parameters.arm === "string" ? html`, arm <bdi>${parameters.arm}</bdi> of this experiment` : null}
      ${target.card?.recipe ? html`, recipe <bdi>${target.card.recipe}</bdi>` : null}</p>`;
}
