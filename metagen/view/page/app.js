// The page: filters, the table, one problem; all of its state is in the address, so that it can be shared.

const page = document.getElementById("page");
const POLL = 2000; // milliseconds between two looks of a live page

let runs = [];
let rows = [];
let shown = [];
let columns = [];
let table = null;
let count = null;
let chips = [];
let choices = [];

const state = () => new URLSearchParams(location.hash.slice(1));

function changed(name, value) {
  const params = state();
  if (value) params.set(name, value);
  else params.delete(name);
  return params;
}

const linkTo = (id) => changed("problem", id).toString();

function set(name, value) {
  history.replaceState(null, "", `#${changed(name, value)}`);
  refresh();
}

const right = (cell) => Boolean(cell) && cell.correct === true;
const wrong = (cell) => Boolean(cell) && cell.correct === false;

// The filters by name: what each is called, and which rows it lets through.
function filters() {
  const some = runs.length > 1 ? " in some run" : "";
  const found = [
    ["", "All", () => true],
    ["wrong", `Wrong${some}`, (row) => row.cells.some(wrong)],
    ["right", runs.length > 1 ? "Right in all runs" : "Right", (row) => row.cells.every(right)],
    ["found", "Missed by the vote, found by a sample", (row) => row.cells.some((cell) => cell && cell.found)],
    ["silent", "No answer", (row) => row.cells.some((cell) => cell && cell.answer === null)],
    ["failed", "Failed", (row) => row.cells.some((cell) => cell && cell.failed)],
  ];
  const pairs = runs.flatMap((_, first) => runs.map((__, second) => [first, second]));
  for (const [first, second] of pairs.filter(([a, b]) => a !== b && (runs.length < 5 || !a || !b))) {
    const title = `${runs[first].name} right, ${runs[second].name} not`;
    found.push([`${first}-not-${second}`, title, (row) => right(row.cells[first]) && !right(row.cells[second])]);
  }
  return found.filter(([name, , accepts]) => ["", "wrong", "right"].includes(name) || rows.some(accepts));
}

function tagFilters() {
  const values = new Map();
  for (const row of rows) {
    for (const [tag, value] of Object.entries(row.tags)) {
      if (!values.has(tag)) values.set(tag, new Set());
      values.get(tag).add(value);
    }
  }
  return [...values].filter(([, each]) => each.size > 1 && each.size <= 100);
}

function accepted(row, params, accepts, words) {
  return (
    accepts(row) &&
    words.every((word) => row.haystack.includes(word)) &&
    [...params].every(([name, value]) => !name.startsWith("tag.") || row.tags[name.slice(4)] === value)
  );
}

function filtered() {
  const params = state();
  const chosen = choices.find(([name]) => name === (params.get("show") || "")) || choices[0];
  const words = (params.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
  const kept = rows.filter((row) => accepted(row, params, chosen[2], words));
  const sort = params.get("sort") || "id";
  const column = columns.find((each) => each.key === sort.replace(/^-/, "")) || columns[0];
  return [sorted(kept, column, sort.startsWith("-")), column.key, sort.startsWith("-")];
}

function sortBy(key) {
  const sort = state().get("sort") || "id";
  set("sort", sort === key ? `-${key}` : key);
}

function refresh() {
  const params = state();
  const [kept, key, down] = filtered();
  shown = kept;
  table.show(kept, key, down);
  count.textContent = `${number(kept.length, 0)} of ${counted(rows.length, "problem")}`;
  for (const chip of chips) chip.setAttribute("aria-pressed", String(chip.dataset.show === (params.get("show") || "")));
}

function controls() {
  const params = state();
  const search = el("input", { type: "search", id: "search", placeholder: "Search", "aria-label": "Search problems", oninput: (event) => set("q", event.target.value) });
  search.value = params.get("q") || "";
  chips = choices.map(([name, title, accepts]) =>
    button(`${visible(title)} (${number(rows.filter(accepts).length, 0)})`, () => set("show", name), { class: "chip", "data-show": name }),
  );
  const selects = tagFilters().map(([tag, values]) => {
    const options = [...values].sort(collator.compare).map((value) => el("option", { value }, visible(value)));
    const select = el("select", { "aria-label": visible(tag), onchange: (event) => set(`tag.${tag}`, event.target.value) }, el("option", { value: "" }, visible(`any ${tag}`)), ...options);
    select.value = params.get(`tag.${tag}`) || "";
    return select;
  });
  count = el("span", { class: "faint", role: "status" });
  return el("div", { class: "controls" }, search, ...selects, count, el("div", { class: "chips" }, ...chips));
}

// A time such as 2026-11-29T09:56:29+00:00, to the minute.
const moment = (at) => String(at).slice(0, 16).replace("T", " ") + (String(at).endsWith("+00:00") ? " UTC" : "");

function aboutRun(run, place) {
  const cells = rows.map((row) => row.cells[place]).filter(Boolean);
  const graded = cells.filter((cell) => cell.correct !== null);
  const sum = (name) => cells.reduce((total, cell) => total + (cell[name] || 0), 0);
  const drawn = cells.filter((cell) => cell.judged > 0);
  const { strategy, models, problems, begun } = run.about;
  const facts = [
    ["right", percent(graded.filter(right).length, graded.length)],
    ["some sample right", drawn.some((cell) => cell.judged > 1) ? percent(drawn.filter((cell) => cell.hits > 0).length, drawn.length) : ""],
    ["problems", number(cells.length, 0)],
    ["tokens", number(sum("tokens"), 0)],
    ["FLOPs", large(sum("flops"))],
    ["money", money(sum("money"))],
  ];
  return el(
    "div",
    { class: "about" },
    el("h2", {}, visible(run.name)),
    el("p", {}, el("code", {}, visible(String(strategy || "")))),
    el("p", { class: "faint" }, visible([Object.values(models || {}).join(", "), problems, begun && moment(begun.at)].filter(Boolean).join(" · "))),
    el("dl", {}, ...facts.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
  );
}

function prepare() {
  columns = columnsOf(runs, rows);
  choices = filters();
}

function overview() {
  prepare();
  table = new Table(columns, { onsort: sortBy });
  page.className = "overview";
  const parts = asking ? [askBox.element] : [el("div", { class: "abouts" }, ...runs.map(aboutRun))];
  page.replaceChildren(topBar(), ...parts, controls(), table.element);
  refresh();
  table.draw();
}

function topBar() {
  const help = el(
    "dialog",
    { "aria-label": "Keys" },
    el("h2", {}, "Keys"),
    el("dl", {}, ...[["/", "search"], ["↑ ↓ or j k", "move through the table"], ["Enter", "open a problem"], ["← → ", "previous and next problem"], ["Esc", "back to all problems"]].map(([key, does]) => el("div", {}, el("dt", {}, key), el("dd", {}, does)))),
    el("form", { method: "dialog" }, el("button", {}, "Close")),
  );
  const themes = () => {
    const chosen = document.documentElement.dataset;
    const dark = chosen.theme ? chosen.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    chosen.theme = dark ? "light" : "dark";
  };
  return el("header", {}, el("h1", {}, "metagen"), source.live ? el("span", { class: "tag" }, "live") : null, button("Dark or light", themes), button("Keys", () => help.showModal()), help);
}

async function open(id) {
  const row = rows.find((each) => each.id === id);
  if (!row) return overview();
  if (!shown.length || !table) {
    prepare();
    [shown] = filtered();
  }
  const place = shown.findIndex((each) => each.id === id); // reading again makes new rows
  const neighbours = place < 0 ? [] : [shown[place - 1], shown[place + 1]];
  const article = await problemPage(runs, row, neighbours).catch((error) => problemParts(row, neighbours, failure(error)));
  if (state().get("problem") !== id) return undefined;
  page.className = "single";
  page.replaceChildren(article);
  article.querySelector("h1").focus({ preventScroll: true });
  window.scrollTo(0, 0);
  return undefined;
}

function route() {
  const id = state().get("problem");
  document.title = id ? `Problem ${id} · metagen` : `${runs.map((run) => run.name).join(", ")} · metagen`;
  return id ? open(id) : overview();
}

function keys(event) {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  const links = [...page.querySelectorAll("nav a")];
  const link = (name) => links.find((each) => each.textContent === name);
  const acts = {
    "/": () => document.getElementById("search"),
    Escape: () => link("All problems") || (typing ? table.element : null),
    ArrowLeft: () => link("Previous"),
    ArrowRight: () => link("Next"),
  };
  const target = acts[event.key] && acts[event.key]();
  if (!target) return;
  if (target.tagName === "A") target.click();
  else target.focus();
  event.preventDefault();
}

async function read() {
  runs = await source.summaries();
  const names = runs.map((run) => run.name);
  for (const run of runs) {
    if (names.indexOf(run.name) !== names.lastIndexOf(run.name)) run.name = run.folder;
  }
  rows = joined(runs);
}

// Reads again, and keeps what the reader is looking at. A row may change: solved by one more run, or at the second try.
async function look() {
  const before = JSON.stringify(runs);
  await read();
  if (JSON.stringify(runs) !== before && !state().get("problem")) {
    const [active, top] = [document.activeElement, table.element.scrollTop];
    overview();
    table.element.scrollTop = top;
    if (active && active.id === "search") document.getElementById("search").focus();
    else if (askBox && askBox.element.contains(active)) active.focus();
  }
}

// That something could not be read, and why.
const failure = (error) => el("p", { class: "error", role: "alert" }, visible(`This cannot be shown: ${error.message}`));

async function follow() {
  try {
    await look();
    said("live");
  } catch (error) {
    said(`not up to date: ${error.message}`); // the server may answer the next time
  } finally {
    setTimeout(follow, POLL);
  }
}

function said(state) {
  const tag = document.querySelector("header .tag");
  if (tag) tag.textContent = visible(state);
}

async function begin() {
  try {
    await read();
  } catch (error) {
    page.replaceChildren(failure(error));
    if (source.live) setTimeout(begin, POLL);
    return;
  }
  window.addEventListener("hashchange", route);
  document.addEventListener("keydown", keys);
  for (const [event, printing] of [["beforeprint", true], ["afterprint", false]])
    window.addEventListener(event, () => table && table.print(printing));
  await route();
  document.documentElement.dataset.ready = "true";
  if (source.live) setTimeout(follow, POLL);
}

begin();
