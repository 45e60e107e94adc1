// The table of problems. Only the rows in sight are in the document.

const ROW = 34; // pixels, as in the style sheet
const MARGIN = 8; // rows above and below what is in sight
const PRINTED = 5000; // rows at most on paper

function mark(correct) {
  const [sign, word] = correct === true ? ["✓", "right"] : correct === false ? ["✗", "wrong"] : ["–", "not graded"];
  return el("span", { class: `mark ${word.replace(" ", "-")}`, title: word }, sign, el("span", { class: "hidden" }, word));
}

function answerCell(cell) {
  if (!cell) return el("span", { class: "faint" }, "not solved");
  if (cell.failed) return el("span", { class: "faint" }, mark(cell.correct), " failed");
  return el("span", {}, mark(cell.correct), " ", cell.answer === null ? el("i", {}, "no answer") : visible(cell.answer));
}

const of = (part, whole) => (whole > 1 ? `${part} of ${whole}` : "");
const COLUMNS = [
  ["answer", "Answer", answerCell, (cell) => [cell.correct === true ? 2 : cell.correct === false ? 0 : 1, cell.answer]],
  ["votes", "Votes", (cell) => cell && of(cell.votes, cell.compared), (cell) => [cell.votes / (cell.compared || 1)]],
  ["hits", "Right samples", (cell) => cell && of(cell.hits, cell.judged), (cell) => [cell.hits / (cell.judged || 1)]],
  ["tokens", "Tokens", (cell) => cell && number(cell.tokens, 0), (cell) => [cell.tokens]],
  ["seconds", "Seconds", (cell) => cell && number(cell.seconds, 2), (cell) => [cell.seconds]],
  ["money", "Money", (cell) => cell && money(cell.money), (cell) => [cell.money]],
  ["flops", "FLOPs", (cell) => cell && large(cell.flops), (cell) => [cell.flops]],
];

// What the table shows of these rows: the columns of a problem, then those of each run.
function columnsOf(runs, rows) {
  const tags = [...new Set(rows.flatMap((row) => Object.keys(row.tags)))];
  const has = (name) => rows.some((row) => row.cells.some((cell) => cell && cell[name]));
  const id = (row) => el("a", { href: `#${linkTo(row.id)}` }, visible(row.id));
  return [
    { key: "id", title: "Problem", show: id, value: (row) => [row.number] },
    { key: "prompt", title: "Question", wide: true, show: (row) => visible(row.prompt || ""), value: (row) => [row.prompt] },
    { key: "reference", title: "Reference", show: (row) => visible(row.reference ?? ""), value: (row) => [row.reference] },
    ...tags.map((tag) => ({
      key: `tag.${tag}`,
      title: visible(tag),
      show: (row) => visible(row.tags[tag] || ""),
      value: (row) => [row.tags[tag]],
    })),
    ...COLUMNS.filter(([name]) => name === "answer" || name === "tokens" || has(name === "votes" ? "compared" : name)).flatMap(
      ([name, title, show, value]) =>
        runs.map((run, place) => ({
          key: `${name}.${place}`,
          title,
          run: runs.length > 1 ? run.name : "",
          right: name !== "answer",
          show: (row) => show(row.cells[place]),
          value: (row) => (row.cells[place] ? value(row.cells[place]) : []),
        })),
    ),
  ];
}

// Numbers by size, texts by their numbers and letters, upwards or down; what is missing comes last in both.
const collator = new Intl.Collator("en", { numeric: true });

function compareValues(first, second, down) {
  for (let place = 0; place < Math.max(first.length, second.length); place += 1) {
    const [a, b] = [first[place], second[place]];
    const missing = (a === null || a === undefined) - (b === null || b === undefined);
    if (missing) return missing;
    if (a === b || a === null || a === undefined) continue;
    return (down ? -1 : 1) * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
  }
  return 0;
}

function sorted(rows, column, down) {
  if (column.key === "id") return down ? [...rows].reverse() : rows;
  const keyed = rows.map((row) => [column.value(row), row]);
  keyed.sort((a, b) => compareValues(a[0], b[0], down) || a[1].number - b[1].number);
  return keyed.map(([, row]) => row);
}

class Table {
  constructor(columns, { onsort }) {
    this.columns = columns;
    this.rows = [];
    this.cursor = 0;
    this.head = columns.map((column) => this.header(column, onsort));
    this.body = el("tbody", {});
    this.table = el(
      "table",
      { "aria-label": "Problems" },
      el("thead", {}, el("tr", { "aria-rowindex": 1 }, ...this.head)),
      this.body,
    );
    this.element = el("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Problems" }, this.table);
    this.element.addEventListener("scroll", () => this.draw());
    this.element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  header(column, onsort) {
    const title = column.run ? `${column.title}, ${visible(column.run)}` : column.title;
    return el(
      "th",
      { scope: "col", class: column.wide ? "wide" : column.right ? "right" : null },
      button(title, () => onsort(column.key), { class: "sort" }),
    );
  }

  show(rows, key, down) {
    this.rows = rows;
    this.cursor = Math.min(this.cursor, Math.max(0, rows.length - 1));
    this.table.setAttribute("aria-rowcount", rows.length + 1);
    this.columns.forEach((column, place) => {
      if (column.key === key) this.head[place].setAttribute("aria-sort", down ? "descending" : "ascending");
      else this.head[place].removeAttribute("aria-sort");
    });
    this.drawn = "";
    this.draw();
  }

  draw() {
    const height = this.element.clientHeight || 600;
    const first = this.printing ? 0 : Math.max(0, Math.floor(this.element.scrollTop / ROW) - MARGIN);
    const most = this.printing ? PRINTED : Math.ceil(height / ROW) + 2 * MARGIN;
    const last = Math.min(this.rows.length, first + most);
    const drawn = `${first}-${last}-${this.cursor}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const space = (count) => {
      const gap = el("td", { colspan: this.columns.length });
      gap.style.height = `${count * ROW}px`;
      return count > 0 ? el("tr", { class: "gap", "aria-hidden": "true" }, gap) : null;
    };
    const lines = this.rows.slice(first, last).map((row, place) => this.line(row, first + place));
    this.body.replaceChildren(...[space(first), ...lines, space(this.rows.length - last)].filter(Boolean));
  }

  line(row, place) {
    const cells = this.columns.map((column) =>
      el("td", { class: column.wide ? "wide" : column.right ? "right" : null }, column.show(row)),
    );
    return el(
      "tr",
      {
        "aria-rowindex": place + 2,
        class: place === this.cursor ? "cursor" : null,
        onclick: () => {
          location.hash = linkTo(row.id);
        },
      },
      ...cells,
    );
  }

  print(printing) {
    this.printing = printing;
    this.draw();
  }

  move(by) {
    this.cursor = Math.max(0, Math.min(this.rows.length - 1, this.cursor + by));
    const [top, height] = [this.cursor * ROW, this.element.clientHeight - 2 * ROW];
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top > this.element.scrollTop + height) this.element.scrollTop = top - height;
    this.draw();
  }

  key(event) {
    const page = Math.floor(this.element.clientHeight / ROW) - 2;
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) this.move(moves[event.key]);
    else if (event.key === "Enter" && event.target === this.element && this.rows[this.cursor])
      location.hash = linkTo(this.rows[this.cursor].id);
    else return;
    event.preventDefault();
  }
}
