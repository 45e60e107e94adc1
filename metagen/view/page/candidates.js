// The candidates of a problem, by answer; and the versions that a refinement went through.

function byAnswer(candidates) {
  const groups = new Map();
  for (const each of candidates) {
    if (!groups.has(each.group)) groups.set(each.group, []);
    groups.get(each.group).push(each);
  }
  const first = (members) => members.some((each) => each.chosen);
  return [...groups.values()].sort((a, b) => b.length - a.length || first(b) - first(a));
}

function candidateGroups(candidates) {
  const groups = byAnswer(candidates);
  return groups.map((members) => answerGroup(members, candidates.length, groups.length === 1));
}

function answerGroup(members, total, alone) {
  const [{ answer, right }] = members;
  const chosen = members.some((each) => each.chosen);
  const scores = members.map((each) => each.score).filter((each) => each !== null);
  const sum = scores.length ? `, scores sum to ${number(scores.reduce((a, b) => a + b, 0))}` : "";
  const bar = el("span", { class: "bar" }, el("span", { class: `part ${right === true ? "good" : right === false ? "bad" : ""}` }));
  bar.firstChild.style.width = `${(100 * members.length) / total}%`;
  const title = el(
    "span",
    { class: "group" },
    mark(right),
    el("b", {}, answer === null ? "no answer" : visible(answer)),
    bar,
    el("span", { class: "faint" }, `${members.length} of ${total}${sum}${chosen ? ", chosen" : ""}`),
  );
  return folded(title, () => el("div", { class: "cards" }, ...alike(members).map(candidateCard)), chosen || alone);
}

// Equal candidates with equal verdicts together, the chosen one first.
function alike(members) {
  const found = new Map();
  for (const each of [...members].sort((a, b) => b.chosen - a.chosen)) {
    const same = JSON.stringify([each.thought, each.text, each.score, each.steps, each.cut, each.model]);
    found.set(same, [...(found.get(same) || []), each]);
  }
  return [...found.values()];
}

function candidateCard(same) {
  const [candidate] = same;
  const facts = [
    candidate.chosen && "chosen",
    same.length > 1 && `${same.length} times`,
    candidate.model && `by ${visible(candidate.model)}`,
    candidate.score !== null && `score ${number(candidate.score)}`,
    candidate.tokens && counted(candidate.tokens, "token"),
    candidate.cut && "cut off",
  ].filter(Boolean);
  return el(
    "article",
    { class: candidate.chosen ? "card chosen" : "card" },
    facts.length ? el("p", { class: "faint" }, facts.join(" · ")) : null,
    thoughtPart(candidate.thought),
    stepped(candidate.text, candidate.steps),
  );
}

function thoughtPart(thought) {
  if (!thought) return null;
  return folded(`Thought, ${counted(thought.length, "character")}`, () => prose(thought, { class: "prose thought" }), false);
}

// Refinements: each is the texts of its versions, with what a critic said between them.
function revisions(spans) {
  const known = new Map(spans.map((span) => [span.path, span]));
  const found = [];
  for (const span of spans) {
    if (!["Refine", "Correct", "improved"].includes(span.name) || span.verifying) continue;
    const versions = draftOf(span, known);
    let said = "";
    for (const child of spans) {
      if (child.verifying || parentOf(child.path, known) !== span.path) continue;
      if (child.feedback) said = child.feedback.text;
      const text = lastText(child, spans);
      if (!child.feedback && text !== null) {
        versions.push({ text, said });
        said = "";
      }
    }
    if (versions.length > 1) found.push(versions);
  }
  return found;
}

// What was drafted in one request for several refinements: the one with this number.
function draftOf(span, known) {
  if (span.name !== "improved") return [];
  const place = Number(span.path.split(".").pop());
  const above = span.path.split(".").slice(0, -2).join(".");
  const drawn = known.get(`${above}.0`);
  const draft = drawn && drawn.completions && drawn.completions[place];
  return draft ? [{ text: draft.text, said: "" }] : [];
}

function lastText(top, spans) {
  const inside = spans.filter((span) => isBelow(span.path, top.path) && span.completions && !span.verifying);
  const last = inside.at(-1);
  return last ? begunText(last.request) + last.completions.at(-1).text : null;
}

// The text of the reply that a request continues, without its thought.
function begunText(request) {
  const partial = (request && request.partial) || "";
  return partial.startsWith("<think>") ? partial.split("</think>").slice(1).join("</think>").trimStart() : partial;
}

// The path of the span right above, of those that are known: the key of a span may have several parts.
function parentOf(path, known) {
  const parts = path.split(".");
  do parts.pop();
  while (parts.length && !known.has(parts.join(".")));
  return parts.join(".");
}

const isBelow = (path, top) => path === top || path.startsWith(`${top}.`);

// A draft; or how a version differs from the one before.
function revised(text, before) {
  if (!before) return prose(text);
  return before === text ? el("p", { class: "faint" }, "No change.") : compared(before, text);
}

function revisionPart(versions, place) {
  const shown = versions.flatMap((version, round) => [
    version.said ? el("blockquote", {}, prose(version.said)) : null,
    el("p", { class: "round" }, round ? `Round ${round}` : "Draft"),
    revised(version.text, round && versions[round - 1].text),
  ]);
  return folded(`Refinement ${place + 1}, ${counted(versions.length - 1, "round")}`, () => el("div", { class: "card" }, ...shown.filter(Boolean)), place === 0);
}
