// A place to ask: a question, a strategy, a budget. Votes come in and the tree grows while the server works.

const asking = document.getElementById("asking");
const REDRAW = 400; // milliseconds between two drawings of a tree or a text that grows

// The events of a streamed reply, as they come.
async function* streamed(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) if (part.startsWith("data: {")) yield JSON.parse(part.slice(6));
  }
}

// Grows a search tree from what is told of its expansions. A node is known by its path, such as /0/1.
class GrowingTree {
  constructor() {
    this.nodes = [];
    this.places = new Map();
    this.element = el("div", { class: "growing" });
    this.waiting = null;
  }

  heard(told) {
    const path = String(told.path[told.path.length - 1]);
    const above = told.path.slice(0, -1).join(".");
    if (this.search === undefined) this.search = above;
    if (this.search !== above || !told.texts.length || !path.startsWith("/")) return;
    if (!this.nodes.length) this.add("/", { parent: -1, text: "", count: 1, value: null });
    const parent = this.places.get(path);
    if (parent === undefined) return;
    this.nodes[parent].state = "drawn";
    told.expansion.children.forEach(({ count, value, state }, number) =>
      this.add(`${path === "/" ? "" : path}/${number}`, { parent, text: told.texts[number], count, value, state }),
    );
    this.waiting = this.waiting || setTimeout(() => this.draw(), REDRAW);
  }

  add(path, node) {
    if (this.places.has(path)) return;
    this.places.set(path, this.nodes.length);
    this.nodes.push({ state: "drawn", chosen: false, ...node });
  }

  draw() {
    this.waiting = null;
    const reading = this.tree && this.tree.frame === document.activeElement;
    this.tree = new SearchTree(this.nodes, this.tree);
    this.element.replaceChildren(this.tree.element);
    if (reading) this.tree.frame.focus({ preventScroll: true });
  }
}

// What is known of one request while it is answered.
class Work {
  constructor() {
    this.said = el("p", { class: "faint", role: "status" }, "Asked.");
    this.votes = el("div", { class: "votes" });
    this.tree = new GrowingTree();
    this.answer = el("div", { class: "prose" });
    this.text = "";
    this.waiting = null;
    this.element = el("div", { class: "work" }, this.said, this.votes, this.tree.element, this.answer);
  }

  heard(chunk) {
    if (chunk.error) throw new Error(chunk.error.message);
    this.id = chunk.id;
    const told = chunk.metagen;
    if (told && told.event === "SampleDone" && told.wanted > 1 && !this.tree.nodes.length) this.count(told);
    if (told && told.event === "Expanded") {
      this.votes.replaceChildren(); // the samples of a step are no votes on the answer
      this.tree.heard(told);
    }
    const delta = chunk.choices.length ? chunk.choices[0].delta : {};
    if (delta.reasoning) this.said.textContent = visible(delta.reasoning.trim().slice(-300));
    if (delta.content) {
      this.text += delta.content;
      this.waiting = this.waiting || setTimeout(() => this.draw(), REDRAW);
    }
  }

  draw() {
    this.waiting = null;
    this.answer.replaceChildren(prose(this.text));
  }

  count({ votes, wanted, done }) {
    // An object has keys that are whole numbers in their own order, so the order of votes is made anew.
    const most = Object.entries(votes).sort((a, b) => b[1] - a[1]).slice(0, 8);
    const bar = ([answer, count]) =>
      el("div", { class: "vote" }, el("b", {}, ...rich(answer)), el("meter", { max: wanted, value: count, "aria-label": visible(answer) }), el("span", { class: "faint" }, number(count, 0)));
    this.votes.replaceChildren(el("p", {}, `${number(done, 0)} of ${counted(wanted, "sample")}`), ...most.map(bar));
  }

  end(said) {
    this.said.replaceChildren(said);
  }
}

class AskBox {
  constructor() {
    this.question = el("textarea", { id: "question", rows: "2", placeholder: "Ask a question", "aria-label": "Question" });
    this.strategy = el("input", { list: "names", placeholder: "Vote(8)", "aria-label": "Strategy or model", spellcheck: "false" });
    this.names = el("datalist", { id: "names" });
    this.budget = el("input", { type: "number", min: "1", placeholder: "no limit", "aria-label": "Most tokens" });
    this.key = el("input", { type: "password", placeholder: "key of the server", "aria-label": "Key", autocomplete: "off", onchange: () => this.enter() });
    this.stop = button("Stop", () => this.leaving && this.leaving.abort(), { disabled: true });
    this.send = el("button", { class: "chip" }, "Ask");
    this.place = el("div", { "aria-live": "polite" });
    const fields = el("div", { class: "controls" }, this.strategy, this.names, el("label", {}, "Tokens ", this.budget), locked ? this.key : null, this.send, this.stop);
    const sent = (event) => {
      event.preventDefault();
      this.ask();
    };
    const form = el("form", { onsubmit: sent }, this.question, fields);
    this.element = el("section", { class: "ask", "aria-label": "Ask" }, form, this.place);
    this.question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.ask();
    });
    this.list();
  }

  enter() {
    key = this.key.value.trim();
    this.list();
  }

  async list() {
    if (locked && !key) return;
    const reply = await fetch("/v1/models", { headers: identified() });
    if (!reply.ok) return;
    const { data } = await reply.json();
    this.names.replaceChildren(...data.map((each) => el("option", { value: each.id }, visible(each.strategy || "served model"))));
    if (!this.strategy.value && data.length) this.strategy.value = data[0].id;
  }

  body() {
    const own = { events: true };
    if (this.budget.value) own.budget = Number(this.budget.value);
    const messages = [{ role: "user", content: this.question.value }];
    return JSON.stringify({ model: this.strategy.value, messages, stream: true, metagen: own });
  }

  async ask() {
    if (this.leaving || !this.question.value.trim()) return;
    const work = new Work();
    this.leaving = new AbortController();
    this.send.disabled = true;
    this.stop.disabled = false;
    this.place.replaceChildren(work.element);
    try {
      work.end(await this.answered(work));
    } catch (error) {
      work.end(error.name === "AbortError" ? "Stopped: the server has dropped it." : el("span", { class: "error" }, visible(error.message)));
    }
    this.leaving = null;
    this.send.disabled = false;
    this.stop.disabled = true;
  }

  // Asks, follows the reply to its end, and says where all of it can be seen.
  async answered(work) {
    const headers = { "Content-Type": "application/json", ...identified() };
    const reply = await fetch("/v1/chat/completions", { method: "POST", headers, body: this.body(), signal: this.leaving.signal });
    if (!reply.ok) throw new Error(await readRefusal(reply));
    for await (const chunk of streamed(reply)) work.heard(chunk);
    for (const each of [work, work.tree]) if (each.waiting) each.draw();
    await look();
    return el("a", { href: `#${linkTo(work.id)}` }, "Candidates, tree and times of this answer");
  }
}

const askBox = asking ? new AskBox() : null;
