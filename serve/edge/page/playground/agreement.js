// Who agrees with whom, in a sentence.

/**
 * @typedef {object} Vote
 * @property {string} name of the model
 * @property {string} label what it says
 */

/** @typedef {string | {said: string}} Fragment plain words, or a name or label that somebody else chose */

/**
 * "3 of 4 say 7; digits_plain says 1."
 *
 * @param {Vote[]} votes of those who answered
 * @returns {Fragment[]} nothing where nobody did
 */
export function agreement(votes) {
  if (votes.length === 0) return [];
  if (votes.length === 1) return [{ said: votes[0].name }, " says ", { said: votes[0].label }, "."];
  const [first, ...others] = groups(votes);
  if (others.length === 0) {
    return [votes.length === 2 ? "Both" : `All ${votes.length}`, " say ", { said: first.label }, "."];
  }
  if (first.names.length === 1) return ["No two agree: ", ...listed([first, ...others], "; "), "."];
  if (first.names.length === others[0].names.length) {
    return ["They are divided: ", ...listed([first, ...others], "; "), "."];
  }
  return [`${first.names.length} of ${votes.length} say `, { said: first.label }, "; ", ...listed(others, "; "), "."];
}

/**
 * Whether the sample's own label is what they say.
 *
 * @param {Vote[]} votes @param {string} label @returns {Fragment[]}
 */
export function rightness(votes, label) {
  if (votes.length === 0) return [];
  const right = votes.filter((vote) => vote.label === label).length;
  const told = ["The sample's own label is ", { said: label }, ": "];
  if (votes.length === 1) return [...told, right ? "it is right." : "it is wrong."];
  if (right === votes.length) return [...told, votes.length === 2 ? "both are right." : `all ${right} are right.`];
  return [...told, right === 0 ? "none is right." : `${right} of ${votes.length} ${right === 1 ? "is" : "are"} right.`];
}

/** @typedef {{label: string, names: string[]}} Group */

/** Those who say the same, most first. @param {Vote[]} votes @returns {Group[]} */
function groups(votes) {
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const { name, label } of votes) found.set(label, [...(found.get(label) ?? []), name]);
  return [...found]
    .map(([label, names]) => ({ label, names }))
    .sort((one, other) => other.names.length - one.names.length);
}

/** @param {Group[]} those @param {string} between @returns {Fragment[]} */
function listed(those, between) {
  return those.flatMap(({ label, names }, place) => [
    ...(place ? [between] : []),
    ...names.flatMap((name, number) => [
      number === 0 ? "" : number === names.length - 1 ? " and " : ", ",
      { said: name },
    ]),
    names.length === 1 ? " says " : " say ",
    { said: label },
  ]);
}
