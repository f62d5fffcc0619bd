// Where the report on an experiment is found.

/** The parts of its address; one that is called as the form of a new one has a longer one.
 *
 * @param {string} name @returns {string[]}
 */
export function reportParts(name) {
  return name === "new" ? ["experiments", name, "report"] : ["experiments", name];
}
