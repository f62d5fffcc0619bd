// The page: who is there, which view is shown. Views are fetched when they are first opened.

import { ApiError, get, keepToken, token, unauthorized } from "./lib/api.js";
import { Dialog, Field } from "./lib/dialog.js";
import { href, parse, useRoute } from "./lib/route.js";
import { SessionContext } from "./lib/session.js";
import { Loading, Page, Problem } from "./lib/ui.js";
import { html, render, useCallback, useErrorBoundary, useLayoutEffect, useRef, useState } from "./vendor/vendor.js";

/** @typedef {import("./lib/session.js").Me} Me */

/** @type {{id: string, title: string, load: () => Promise<{default: any}>}[]} */
const VIEWS = [
  { id: "playground", title: "Playground", load: () => import("./playground/view.js") },
  { id: "models", title: "Models", load: () => import("./models/view.js") },
  { id: "experiments", title: "Experiments", load: () => import("./experiments/view.js") },
  { id: "live", title: "Live", load: () => import("./live/view.js") },
];

/** The view of a route; the first where it names none. @param {string[]} parts */
function viewOf([name = VIEWS[0].id]) {
  return VIEWS.find(({ id }) => id === name);
}

/** Asked before anything is drawn. @type {{answer: Promise<Me> | null}} */
const first = { answer: get("v1/me") };

function App() {
  const { parts, query } = useRoute();
  const session = useMe();
  const view = viewOf(parts);
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  /** @param {Event} event */
  const skip = (event) => {
    event.preventDefault(); // the fragment is the route
    main.current?.focus();
  };
  return html`
    <${SessionContext.Provider} value=${session.me}>
      <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
      <${Header} chosen=${view?.id} session=${session} />
      <main id="main" tabindex="-1" ref=${main}>
        ${session.error && !session.me ? html`<${Problem} error=${session.error} retry=${session.reload} />` : null}
        ${
          view && session.me
            ? html`<${View} key=${view.id} view=${view} parts=${parts.slice(1)} query=${query} />`
            : view
              ? null
              : html`<${Page} title="No such view"><${Problem} error="There is no such view. Choose one above." /><//>`
        }
      </main>
      <footer>
        <a href="docs">REST API</a>
        <a href="openapi.json">openapi.json</a>
        <a href="v2/health/ready">Readiness</a>
        <span>attnserve ${session.me?.version}</span>
      </footer>
      ${session.asked === null ? null : html`<${TokenDialog} said=${session.asked} session=${session} />`}
    <//>`;
}

/** Who the gateway says that we are; asked again with every new token. */
function useMe() {
  const [me, setMe] = useState(/** @type {Me | null} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const [asked, setAsked] = useState(/** @type {string | null} */ (null));
  const reload = useCallback(async () => {
    try {
      setMe(await (first.answer ?? get("v1/me")));
      setError(null);
      setAsked(null);
    } catch (refused) {
      setError(/** @type {Error} */ (refused));
      // The first answer may be here before anybody listens.
      if (refused instanceof ApiError && refused.status === 401) setAsked(refused.message);
    } finally {
      first.answer = null;
    }
  }, []);
  useLayoutEffect(() => {
    const want = (/** @type {Event} */ event) => setAsked(/** @type {CustomEvent<string>} */ (event).detail);
    unauthorized.addEventListener("asked", want);
    reload();
    return () => unauthorized.removeEventListener("asked", want);
  }, [reload]);
  // A view stays with all that was written in it while a token that has ended is replaced; not when it is forgotten.
  const use = async (/** @type {string} */ secret) => {
    keepToken(secret);
    if (!secret) setMe(null);
    await reload();
    if (me) unauthorized.dispatchEvent(new Event("changed"));
  };
  return { me, error, asked, reload, use, close: () => setAsked(null) };
}

/** @param {{chosen: string | undefined, session: ReturnType<typeof useMe>}} props */
function Header({ chosen, session: { me, use } }) {
  return html`
    <header class="top">
      <a class="brand" href=${href([])}><img src="page/icon.svg" alt="" width="24" height="24" />attnserve</a>
      <nav aria-label="Views">
        ${VIEWS.map(
          ({ id, title }) => html`
          <a key=${id} href=${href([id])} aria-current=${id === chosen ? "page" : undefined}>${title}</a>`,
        )}
      </nav>
      ${
        me
          ? html`
        <p class="who">
          <span>${me.access === "open" ? "open access" : html`<bdi>${me.name}</bdi>, ${me.role}`}</span>
          ${token() ? html`<button type="button" onClick=${() => use("")}>Forget token</button>` : null}
        </p>`
          : null
      }
    </header>`;
}

/** @param {{view: typeof VIEWS[number], parts: string[], query: URLSearchParams}} props */
function View({ view, parts, query }) {
  const [loaded, setLoaded] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  useLayoutEffect(() => {
    view.load().then(
      (module) => setLoaded(() => module.default),
      () => setError(new Error("This part of the page could not be fetched. Reload the page.")),
    );
  }, [view]);
  const [broken, mend] = useErrorBoundary();
  if (error) return html`<${Problem} error=${error} />`;
  if (broken) {
    const words = `This view cannot be drawn: ${broken.message ?? broken}. The others can.`;
    return html`<${Page} title=${view.title}><${Problem} error=${words} retry=${mend} /><//>`;
  }
  return loaded
    ? html`<${loaded} parts=${parts} query=${query} />`
    : html`<${Loading} what=${view.title.toLowerCase()} />`;
}

/** @param {{said: string, session: ReturnType<typeof useMe>}} props */
function TokenDialog({ said, session: { me, error, use, close } }) {
  const [secret, setSecret] = useState("");
  const [busy, setBusy] = useState(false);
  /** @param {Event} event */
  const submitted = async (event) => {
    event.preventDefault();
    setBusy(true);
    await use(secret.trim());
    setBusy(false);
  };
  return html`
    <${Dialog} title="This gateway asks for a token" onClose=${me ? close : () => {}}>
      <form onSubmit=${submitted}>
        <p>Kept in this tab until it is closed, and sent to this gateway only.</p>
        <${Field} label="Token" error=${token() ? (error?.message ?? said) : ""}>${(
          /** @type {Record<string, unknown>} */ attributes,
        ) => html`
          <input ...${attributes} type="password" autocomplete="off" required value=${secret}
            pattern="\\s*[!-~]+\\s*" title="Letters, digits and signs without spaces, as you were given it"
            onInput=${(/** @type {any} */ event) => setSecret(event.target.value)} />`}<//>
        <div class="actions"><button class="main" disabled=${busy}>Use it</button></div>
      </form>
    <//>`;
}

// Fetched while the gateway is asked who we are; whether it came, the view itself says.
viewOf(parse(location.hash).parts)
  ?.load()
  .catch(() => {});
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.replaceChildren();
render(html`<${App} />`, root);
