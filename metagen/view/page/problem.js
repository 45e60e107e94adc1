// The page of one problem: what each run made of it.

// A part of a problem under its heading, which stands below that of the run where there are several.
function section(level, title, ...parts) {
  const made = parts.flat().filter(Boolean);
  return made.length ? el("section", {}, el(level, {}, title), ...made) : null;
}

function runPart(run, row, cell, data, single) {
  const title = single ? null : el("h2", {}, visible(run.name));
  const level = single ? "h2" : "h3";
  if (!cell || !data) return el("div", { class: "run" }, title, el("p", { class: "faint" }, cell ? "No trace is written." : "Not solved."));
  const { candidates, tree, spans } = data;
  const first = spans.find((span) => span.request && !span.verifying);
  return el(
    "div",
    { class: "run" },
    title,
    el("p", { class: "verdict" }, answerCell(cell), cell.found ? el("span", { class: "found" }, "a sample was right") : null),
    data.error ? el("p", { class: "error" }, visible(data.error)) : null,
    ...data.notes.map((note) => el("p", { class: "note" }, visible(note))),
    data.lost ? el("p", { class: "note" }, visible(`${counted(data.lost, "sample")} lost. ${data.why}`)) : null,
    data.unscored ? el("p", { class: "note" }, visible(`No verdict: ${data.unscored}`)) : null,
    section(level, "Candidates", candidateGroups(candidates)),
    tree.length ? section(level, "Search tree", new SearchTree(tree).element) : null,
    section(level, "Refinement", revisions(spans).map(revisionPart)),
    section(level, "Chain", chain(spans)),
    section(level, "Prompt as sent", first ? requestPart(first.request, true) : null),
    section(level, "What happened, and when", spans.length ? waterfall(spans) : null),
    section(level, "Cost", el("p", { class: "faint" }, spent(data.usage))),
  );
}

async function problemPage(runs, row, neighbours) {
  const found = await Promise.all(runs.map((run, place) => (row.cells[place] ? source.problem(place, row.cells[place].place, row.id) : null)));
  const whole = found.find((data) => data && data.prompt);
  return problemParts(
    row,
    neighbours,
    prose(whole ? whole.prompt : row.prompt || "", { class: "prose question" }),
    row.reference === null || row.reference === undefined ? null : el("p", {}, "Reference: ", el("b", {}, ...rich(row.reference))),
    el("div", { class: runs.length > 1 ? "runs" : "" }, ...runs.map((run, place) => runPart(run, row, row.cells[place], found[place], runs.length === 1))),
  );
}

// The parts of a page between the links to others, under the name of the problem.
function problemParts(row, neighbours, ...parts) {
  const [before, after] = neighbours;
  const go = (to, label) => (to ? el("a", { href: `#${linkTo(to.id)}` }, label) : el("span", { class: "faint" }, label));
  const tags = Object.entries(row.tags).map(([name, value]) => el("span", { class: "tag" }, visible(`${name} ${value}`)));
  return el(
    "article",
    { class: "problem" },
    el("nav", { "aria-label": "Problems" }, el("a", { href: `#${linkTo("")}` }, "All problems"), go(before, "Previous"), go(after, "Next")),
    el("h1", { tabindex: "-1" }, "Problem ", visible(row.id)),
    el("p", {}, ...tags),
    ...parts,
  );
}
