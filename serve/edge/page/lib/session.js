// Who is in front of the page, and what they may do.

import { createContext, useContext } from "../vendor/vendor.js";

/** Each may do what those before it may. */
export const ROLES = ["infer", "operate", "admin"];

/**
 * @typedef {object} Me what v1/me says
 * @property {string} name
 * @property {string} role
 * @property {string} access "open", "token" or "certificate"
 * @property {string} version
 * @property {boolean} experiments whether this gateway takes part in them
 * @property {boolean} samples
 * @property {string} grafana_url
 * @property {number} processes
 */

/** @type {Me} */
const NOBODY = {
  name: "",
  role: "infer",
  access: "open",
  version: "",
  experiments: true,
  samples: false,
  grafana_url: "",
  processes: 1,
};

export const SessionContext = createContext(/** @type {Me | null} */ (null));

/** The session as a hook. */
export function useSession() {
  const me = useContext(SessionContext) ?? NOBODY;
  return {
    me,
    /** Whether the caller has that role, or a higher one. @param {string} role @returns {boolean} */
    can: (role) => ROLES.indexOf(me.role) >= ROLES.indexOf(role),
    /** Why something is not offered; "" where it is. @param {string} role @returns {string} */
    lacks: (role) =>
      ROLES.indexOf(me.role) >= ROLES.indexOf(role) ? "" : `Your role is “${me.role}”; this needs “${role}”.`,
  };
}
